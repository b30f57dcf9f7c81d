"""Tests of the reader: the vectors of format-spec, and the stored repository of version 1, whole and damaged."""

import base64
import contextlib
import io
import json
import math
import os
import random
import shutil
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

import tv_check
import tv_format as fmt
import tv_reader
from tv_repository import Refused, Repository, base64_lines
from tv_snapshot import Snapshot, safe, unique

SPEC = Path(__file__).resolve().parent.parent
STORED = SPEC.parent / "tests" / "fixtures" / "repository-v1"


def vectors(name):
    return json.loads((SPEC / "vectors" / name).read_text())


def plain(value):
    """A parsed value in the way the vectors are written: byte strings in hexadecimal, tuples as lists."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return {name: plain(one) for name, one in vars(value).items()} if isinstance(value, SimpleNamespace) else value


def flat(fields):
    """The values in their order, without names; the vectors name some fields otherwise than the reader does."""
    return [flat(one) if isinstance(one, (list, dict)) else one
            for one in (fields.values() if isinstance(fields, dict) else fields)]


def vector_secrets():
    given = {name: bytes.fromhex(value) for name, value in vectors("crypto.json")["secrets"].items()}
    return SimpleNamespace(private=given["content_private"], public=given["content_public"], psk=given["psk"],
                           state=given["state"], id=given["id"])


class Crypto(unittest.TestCase):
    def setUp(self):
        self.vectors, self.secrets = vectors("crypto.json"), vector_secrets()

    def test_ids_and_keys_follow_from_the_secrets(self):
        for one in self.vectors["blob_ids"]:
            key = fmt.derive(f"{one['kind']} blob id", self.secrets.id)
            self.assertEqual(fmt.keyed(key, bytes.fromhex(one["plain"])).hex(), one["id"])
        for one in self.vectors["chunk_ids"]:
            key = fmt.derive("chunk id", self.secrets.id)
            self.assertEqual(fmt.keyed(key, bytes.fromhex(one["bytes"]))[:16].hex(), one["id"])
        for one in self.vectors["sub_keys"]:
            self.assertEqual(fmt.sub_key(self.secrets, one["kind"], bytes.fromhex(one["salt"])).hex(), one["key"])

    def test_ciphertexts_and_sealed_keys_open(self):
        for one in self.vectors["aead"]:
            key, associated, sealed = (bytes.fromhex(one[name]) for name in ("key", "aad", "sealed"))
            self.assertEqual(fmt.decrypt(key, int(one["counter"]), sealed, associated, "it").hex(), one["plain"])
            with self.assertRaises(fmt.Damaged):
                fmt.decrypt(key, int(one["counter"]), sealed[:-1] + bytes([sealed[-1] ^ 1]), associated, "it")
        for one in self.vectors["sealed_keys"]:
            self.assertEqual(fmt.open_sealed_key(self.secrets, bytes.fromhex(one["sealed"]), "it").hex(), one["key"])
            with self.assertRaises(fmt.Damaged):
                fmt.open_sealed_key(self.secrets, bytes(80), "it")

    def test_slots_open(self):
        for one in self.vectors["slot_keys"]:
            key = fmt.hash_secret_raw(one["passphrase"].encode(), bytes.fromhex(one["salt"]), one["passes"],
                                      one["memory_kib"], one["lanes"], 32, fmt.Type.ID, 0x13)
            self.assertEqual(key.hex(), one["key"])
        for one in self.vectors["slots"]:
            opened = fmt.open_slot(bytes.fromhex(one["file"]), one["passphrase"].encode(), "it")
            expected = vars(self.secrets) | {"repository": bytes.fromhex(one["repository"])}
            if one["right"] == "write-only":
                expected["private"] = None
            self.assertEqual(vars(opened), expected)


class Files(unittest.TestCase):
    def setUp(self):
        self.vectors, self.secrets = vectors("files.json"), vector_secrets()

    def test_documents_hold_what_is_in_them(self):
        fields = {fmt.CONFIG: fmt.CONFIG_FIELDS, fmt.INDEX: fmt.INDEX_FIELDS, fmt.SNAPSHOT: fmt.SNAPSHOT_FIELDS,
                  fmt.SET: fmt.data, fmt.RUN: tv_check.RUN_FIELDS}
        for one in self.vectors["documents"]:
            kind, file = one["kind"], bytes.fromhex(one["file"])
            found = fmt.open_document(file, kind, fields[kind], self.secrets, "it")
            if kind == fmt.SET:
                self.assertEqual(fmt.parse(fmt.data, bytes.fromhex(one["structure"]), "it"), found)
                found = tv_check.set_definition(found, "it")
                if one["fields"].pop("version") == 1:
                    for rule in found.rules:
                        rule.subject = rule.subject[1]
            else:
                again = fmt.parse(fields[kind], bytes.fromhex(one["structure"]), "it")
                self.assertEqual(plain(again), plain(found))
            for pack in getattr(found, "packs", ()):
                pack.kind = {fmt.CONTENTS: "content", fmt.TREES: "tree"}[pack.kind]
            self.assertEqual(flat(plain(found)), flat(one["fields"]))

    def test_values_of_trees_hold_what_is_in_them(self):
        types = {"record": fmt.RECORD, "state of a collection": fmt.COLLECTION, "gap": tv_check.GAP,
                 "coverage": tv_check.COVERAGE}
        for one in self.vectors["structures"]:
            found = plain(fmt.parse(types[one["what"]], bytes.fromhex(one["structure"]), "it"))
            for piece in (piece for stream in found.get("streams", ()) for piece in stream["pieces"]):
                piece["base64"] = {"base64": piece["base64"]} if piece["base64"] else "raw"
            self.assertEqual(flat(found), flat(one["fields"]))

    def test_every_beginning_of_a_structure_is_refused(self):
        for one in self.vectors["structures"]:
            structure = bytes.fromhex(one["structure"])
            for length in range(len(structure)):
                with self.assertRaises(fmt.Damaged):
                    fmt.parse(fmt.RECORD if one["what"] == "record" else tv_check.GAP, structure[:length], "it")

    def test_packs_give_their_blobs(self):
        for one in self.vectors["packs"]:
            file = bytes.fromhex(one["file"])
            self.assertEqual(blake3(file).hexdigest(), one["id"])
            pack = tv_check.open_pack(file, self.secrets, "it")
            pack.name = "it"
            self.assertEqual(len(pack.keys), one["keys"])
            reader = SimpleNamespace(secrets=self.secrets, pack_key=lambda *a: fmt.open_sealed_key(self.secrets, *a))
            for blob, expected in zip(pack.blobs, one["blobs"], strict=True):
                found = Repository.open_blob(reader, blob, file[blob.offset:blob.offset + blob.stored])
                self.assertEqual((blob.id.hex(), found.hex()), (expected["id"], expected["plain"]))
            if pack.kind == fmt.TREES:
                other, key = bytes(32), fmt.sub_key(self.secrets, fmt.TREES, pack.salt)
                sealed = ChaCha20Poly1305(key).encrypt(bytes(12), b"other bytes", other)
                place = SimpleNamespace(id=other, pack=pack, nonce=0, plain=11, key=0)
                with self.assertRaisesRegex(fmt.Damaged, "not the one of its id"):
                    Repository.open_blob(reader, place, sealed)
            gap = len(file) - 4 - int.from_bytes(file[-4:], "little")
            with self.assertRaisesRegex(fmt.Damaged, "do not fill it"):
                tv_check.open_pack(file[:gap] + b"\0" + file[gap:], self.secrets, "it")
            for changed in (file[:-1], file + b"\0", file[:4] + b"\2" + file[5:], file[:50], b""):
                with self.assertRaises(fmt.Damaged):
                    tv_check.open_pack(changed, self.secrets, "it")


class Chunks(unittest.TestCase):
    """files.md, 11: what only writers need."""

    SMALL = {5: 0x1804110, 6: 0x1803110, 7: 0x18035100, 8: 0x1800035300, 9: 0x19000353000, 10: 0x590003530000,
             11: 0xd90003530000, 12: 0xd90103530000, 13: 0xd90303530000, 14: 0xd90313530000, 15: 0xd90f03530000,
             16: 0xd90303537000, 17: 0xd90703537000, 18: 0xd90707537000, 19: 0xd91707537000, 20: 0xd91747537000,
             21: 0xd91767537000, 22: 0xd93767537000, 23: 0xd93777537000, 24: 0xd93777577000, 25: 0xdb3777577000}

    def test_streams_are_cut_where_the_text_says(self):
        given = vectors("chunks.json")
        context = "tenantvault v1 chunker gear table"
        table = blake3(bytes.fromhex(given["seed"]), derive_key_context=context).digest(2048)
        self.assertEqual(blake3(table).hexdigest(), given["gear_hash"])
        gear = [int.from_bytes(table[at:at + 8], "little") for at in range(0, 2048, 8)]
        self.assertEqual([f"{number:#018x}" for number in gear[:4]], given["gear_first"])
        for one in given["cuts"]:
            length = one["length"]
            stream = bytearray(blake3(given["stream_of"].encode()).digest(length))
            stream[length // 5:2 * (length // 5)] = bytes(length // 5)
            self.assertEqual(self.cut(stream, gear, one["smallest"], one["average"], one["largest"]), one["chunks"])

    def cut(self, stream, gear, smallest, average, largest):
        bits = round(math.log2(average))
        before, after = self.SMALL[bits + 2], self.SMALL[bits - 2]
        chunks, start = [], 0
        while start < len(stream):
            left = len(stream) - start
            end = min(left, largest)
            middle, place, h = min(end, average), end, 0
            for i in range(smallest, end - end % 2) if left > smallest else ():
                h = (2 * h + gear[stream[start + i]]) % (1 << 64)
                if h & (before if i < middle else after) == 0:
                    place = i
                    break
            chunks.append(place)
            start += place
        return chunks


class Trees(unittest.TestCase):
    def setUp(self):
        self.vectors = vectors("tree.json")

    def test_nodes_are_what_the_text_says(self):
        for one in self.vectors["nodes"]:
            node = fmt.parse_node(bytes.fromhex(one["bytes"]), "it")
            entries = [vars(entry) for entry in node.entries]
            if node.level:
                found = [{"key": e["key"].hex(), "id": e["id"].hex(), "count": e["records"], "bytes": e["size"]}
                         for e in entries]
            else:
                found = [{"key": e["key"].hex(), "value": e["value"].hex()} for e in entries]
            self.assertEqual((node.level, found), (one["level"], one["entries"]))
        for one in self.vectors["bad_nodes"]:
            with self.assertRaises(fmt.Damaged, msg=one["why"]):
                fmt.parse_node(bytes.fromhex(one["bytes"]), "it")

    def test_a_node_that_is_not_what_is_said_of_it_is_refused(self):
        reader = Blobs({})
        node = fmt.parse_node(b"T\1\0" + b"\0\1a\0" + b"\0\1b\1v", "it")
        reader.node = {b"id": node}.get
        said = {"id": b"id", "level": 0, "records": 2, "key": b"b", "size": node.size}
        for name, lie in ("key", None), ("level", 1), ("records", 3), ("key", b"c"), ("size", node.size + 1):
            named = SimpleNamespace(**said | ({name: lie} if lie else {}))
            if lie:
                self.assertRaises(fmt.Damaged, list, reader.records(named))
            else:
                self.assertEqual(list(reader.records(named, b"aa")), [(b"b", b"v")])

    def test_nothing_follows_where_a_node_must_end(self):
        for length, entries in (65_526, 2), (65_527, 1):
            value = integer(length) + bytes(length)
            node = b"T\1\0" + b"\0\1a" + value + b"\0\1b\0"
            if entries == 2:
                self.assertEqual(len(fmt.parse_node(node, "it").entries), 2)
            else:
                self.assertRaises(fmt.Damaged, fmt.parse_node, node, "it")

    def test_trees_follow_from_their_records(self):
        for one in self.vectors["cut_hashes"]:
            self.assertEqual(tv_check.cut_hash(one["level"], bytes.fromhex(one["key"])), one["hash"])
        for one in self.vectors["trees"]:
            keys = [f"item-{i:06}".encode() + b"x" * 200 for i in range(one["records"])]
            self.assertEqual(self.tree([(key, key * (i % 3)) for i, key in enumerate(keys)]),
                             {name: one[name] for name in ("id", "level", "count", "nodes", "bytes")})

    def tree(self, records):
        """The root, and the nodes in all, of a tree that is built from the text."""
        level, nodes, size, entries = 0, 0, 0, [(key, value, 1, 0) for key, value in records]
        while True:
            above, bytes_, weight, number, last, below = [], b"", 0, 0, None, [0, 0]
            for at, (key, value, count, child_size) in enumerate(entries):
                shared = len(os.path.commonprefix([key, last])) if last is not None else 0
                bytes_ += integer(shared) + integer(len(key) - shared) + key[shared:]
                bytes_ += value + integer(count) + integer(child_size) if level else integer(len(value)) + value
                own = len(key) + (48 if level else len(value) + 8)
                weight, number, last = weight + own, number + 1, key
                below = [below[0] + count, below[1] + child_size]
                if tv_check.ends(level, number, key, own, weight) or at == len(entries) - 1:
                    node = b"T\1" + bytes([level]) + bytes_
                    fmt.parse_node(node, "it")
                    above.append((key, blake3(node).digest(), below[0], below[1] + len(node)))
                    bytes_, weight, number, last, below = b"", 0, 0, None, [0, 0]
            nodes += len(above)
            if len(above) == 1:
                _, id, count, size = above[0]
                return {"id": id.hex(), "level": level, "count": count, "nodes": nodes, "bytes": size}
            level, entries = level + 1, above

    def test_long_names_are_cut_before_bytes_0_are_left_out(self):
        record = SimpleNamespace(id="i", parent="", name="\0" * 2047 + "éa", kind="folder", sort=None)
        self.assertEqual(tv_check.children_key(record)[16:], b"\1" + b"\0" + b"\0" + b"i")

    def test_children_keys_are_what_the_text_says(self):
        kinds = {"MailFolder": "mail folder", "Message": "message", "File": "file", "Folder": "folder"}
        for one in self.vectors["children_keys"]:
            record = SimpleNamespace(id=one["id"], parent=one["parent"], name=one["name"], kind=kinds[one["kind"]],
                                     sort=one["sort_us"])
            self.assertEqual(tv_check.children_key(record).hex(), one["key"])


def integer(number):
    for first, width in ((None, 1), (251, 2), (252, 4), (253, 8)):
        if number <= (250 if first is None else (1 << 8 * width) - 1):
            return (b"" if first is None else bytes([first])) + number.to_bytes(width, "little")


class Streams(unittest.TestCase):
    def read(self, stream, blobs):
        return b"".join(Repository.stream(Blobs(blobs), stream, "it"))

    def test_lists_of_extents_may_be_deep(self):
        contents, blobs = random.Random(1).randbytes(3000), {}
        extents = []
        for at in range(0, 3000, 100):
            id = blake3(b"c%d" % at).digest()
            blobs[fmt.CONTENTS, id] = b"before" + contents[at:at + 100] + b"after"
            extents.append((id, 6, 100))
        for depth in range(1, 3):
            listed = b"".join(id + offset.to_bytes(4, "little") + length.to_bytes(4, "little")
                              for id, offset, length in extents)
            extents = []
            for at in range(0, len(listed), 320):
                id = blake3(b"l%d %d" % (depth, at)).digest()
                blobs[fmt.TREES, id] = b"xyz" + listed[at:at + 320]
                extents.append((id, 3, len(listed[at:at + 320])))
        piece = SimpleNamespace(base64=None, depth=2, extents=extents)
        self.assertEqual(self.read(SimpleNamespace(size=3000, pieces=[piece]), blobs), contents)
        for size in 2999, 3001:
            with self.assertRaises(fmt.Damaged):
                self.read(SimpleNamespace(size=size, pieces=[piece]), blobs)
        piece.extents = piece.extents[:-1] + [(*piece.extents[-1][:2], piece.extents[-1][2] - 1)]
        with self.assertRaises(fmt.Damaged):
            self.read(SimpleNamespace(size=3000, pieces=[piece]), blobs)

    def test_base64_has_lines(self):
        for length in 0, 1, 3, 4, 99:
            form = SimpleNamespace(line=4, crlf=True)
            bytes_ = bytes(range(length))
            for step in 1, 2, 7, 200:
                lines = b"".join(base64_lines((bytes_[at:at + step] for at in range(0, length, step)), form))
                expected = [base64.b64encode(bytes_[at:at + 3]) + b"\r\n" for at in range(0, length, 3)]
                self.assertEqual(lines, b"".join(expected))


class Blobs(Repository):
    """A repository of these blobs alone."""

    def __init__(self, blobs):
        self.blob = lambda kind, id: blobs[kind, id]


class Folders(unittest.TestCase):
    def test_an_item_is_in_the_folder_that_its_record_names_and_no_other(self):
        def record(id, parent):
            return b"".join(bytes([len(text)]) + text for text in (id, parent, id)) + b"\3" + bytes(7)

        def records(tree, start):
            return ((key, tree[key]) for key in sorted(tree) if key >= start)

        snapshot = Snapshot.__new__(Snapshot)
        snapshot.repository = SimpleNamespace(records=records)
        top = blake3(b"").digest()[:16] + b"\1"
        for parent in b"", b"a", b"b":
            collection = SimpleNamespace(name="c", items={b"a": record(b"a", parent)}, children={top + b"a\0a\0a": b""})
            if parent:
                self.assertRaises(fmt.Damaged, list, snapshot.folder(collection, ""))
            else:
                self.assertEqual([name for name, _ in snapshot.folder(collection, "")], ["a"])


class Names(unittest.TestCase):
    def test_a_foreign_name_is_one_part_of_a_path_below_the_folder(self):
        for name in "", ".", "..", "../../etc", "/etc", "a\0b", "\\\\host\\x", "C:x", "x" * 999, "é" * 400, " . ":
            made = safe(name)
            self.assertEqual(os.path.basename(os.path.normpath(os.path.join("/folder", made))), made)
            self.assertEqual(os.path.dirname(os.path.normpath(os.path.join("/folder", made))), "/folder")
            self.assertLess(len(made.encode()), 220)

    def test_names_in_one_folder_differ(self):
        taken = set()
        for name, expected in (("a.txt", "a.txt"), ("A.TXT", "A (2).TXT"), ("é", "é"), ("e\u0301", "e\u0301 (2)")):
            self.assertEqual(unique(SimpleNamespace(name=name, kind="file", summary=[]), taken), expected)


class Stored(unittest.TestCase):
    """The stored repository of version 1."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.repository = Path(self.folder.name) / "repository"
        shutil.copytree(STORED / "repository", self.repository)
        self.passphrase = (STORED / "repository.key").read_bytes().strip()

    def run_reader(self, *arguments, key="repository.key"):
        """What the program prints, what it complains of, and its exit code."""
        out, errors = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
        arguments = ["-r", str(self.repository), "-p", str(STORED / key), *map(str, arguments)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = tv_reader.main(arguments)
        return out.buffer.getvalue().decode(), errors.getvalue(), code

    def test_check_names_every_file_that_is_damaged_or_missing(self):
        _, errors, code = self.run_reader("check")
        self.assertEqual((errors, code), ("", 0))
        needed = ["config", *Repository(self.repository, self.passphrase).packs]
        needed += [name for name in self.files("keys/*") if self.opens(name)] + self.files("index/*")[-1:]
        for name in self.files("*") + self.files("*/*") + self.files("*/*/*"):
            path = self.repository / name
            whole, middle = path.read_bytes(), path.stat().st_size // 2
            with self.subTest(name):
                for changed in whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1:], whole[:-1]:
                    path.write_bytes(changed)
                    _, errors, code = self.run_reader("check")
                    self.assertEqual(code, 1)
                    self.assertIn(name, errors)
                path.unlink()
                self.assertEqual(self.run_reader("check")[2], 1 if name in needed else 0)
            path.write_bytes(whole)

    def seal(self, kind, structure):
        """Writes a document as the holder of any key can, and gives its name."""
        head = b"TVLT\1" + bytes([kind]) + os.urandom(32)
        key = fmt.sub_key(Repository(self.repository, self.passphrase).secrets, kind, head[6:])
        file = head + ChaCha20Poly1305(key).encrypt(bytes(12), b"\0" + structure, head)
        (self.repository / "index" / blake3(file).hexdigest()).write_bytes(file)
        return blake3(file).digest()

    def test_an_index_file_that_another_replaces_does_not_count(self):
        bogus = b"\1" + bytes(32) + b"\1" + b"\x64" + bytes(32) + b"\0" + bytes(4)
        old = self.seal(fmt.INDEX, bogus)
        self.assertIn("is missing", self.run_reader("check")[1])
        self.seal(fmt.INDEX, bytes(4) + b"\1" + old)
        self.assertEqual(self.run_reader("check")[1:], ("", 0))

    def test_an_index_file_that_is_well_sealed_and_lies_is_noticed(self):
        repository = Repository(self.repository, self.passphrase)
        name = self.files("index/*")[-1]
        whole = repository.document(name, fmt.INDEX, lambda b: b.take(len(b.data)))
        (self.repository / name).unlink()
        chunk = next(iter(repository.chunks.values()))[0].id
        salt = next(pack.salt for pack in repository.packs.values() if pack.kind == fmt.CONTENTS)
        blob = next(blob.id for (kind, _), (blob, *_) in repository.places.items() if kind == fmt.CONTENTS)
        for lie, told in (chunk, "Chunk .* is not where"), (salt, "do not say the same"), (blob, "do not say the same"):
            at = whole.index(lie)
            forged = self.seal(fmt.INDEX, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            self.assertRegex(self.run_reader("check")[1], told)
            (self.repository / "index" / forged.hex()).unlink()

    def test_check_holds_every_stream_against_its_size_and_its_hash(self):
        whole = Repository.stream

        def changed(repository, stream, what):
            bytes_ = bytearray(b"".join(whole(repository, stream, what)))
            if stream.source_hash:
                bytes_[-1:] = bytes([bytes_[-1] ^ 1]) if bytes_ else b"x"
            yield bytes(bytes_)

        def cut(repository, stream, what):
            stream.size += 1
            return whole(repository, stream, what)

        for other, told in (changed, "does not have the hash"), (cut, "its stream has not the"):
            with mock.patch.object(Repository, "stream", other):
                self.assertIn(told, self.run_reader("check")[1])

    def files(self, pattern):
        """Names of files, the smallest first."""
        found = [path for path in self.repository.glob(pattern) if path.is_file()]
        return [str(path.relative_to(self.repository)) for path in sorted(found, key=lambda path: path.stat().st_size)]

    def opens(self, name):
        with contextlib.suppress(fmt.Damaged):
            return fmt.open_slot((self.repository / name).read_bytes(), self.passphrase, name)

    def test_a_slot_that_an_init_left_does_not_stand_in_the_way(self):
        for slot in vectors("crypto.json")["slots"]:
            file = bytes.fromhex(slot["file"])
            (self.repository / "keys" / blake3(file).hexdigest()).write_bytes(file)
            with self.assertRaises(Refused):
                Repository(self.repository, slot["passphrase"].encode())
        self.assertEqual(self.run_reader("check")[1:], ("", 0))

    def test_what_a_damaged_index_file_names_is_missing_and_the_rest_is_read(self):
        index = self.repository / self.files("index/*")[-1]
        index.write_bytes(index.read_bytes()[:-1])
        self.assertEqual(self.run_reader("snapshots")[2], 0)
        told = self.run_reader("ls", "latest")[1]
        self.assertRegex(told, f"blob [0-9a-f]* is missing; index/{index.name} is damaged")

    def test_a_wrong_passphrase_and_a_newer_format_are_told(self):
        with self.assertRaisesRegex(Refused, "passphrase is wrong"):
            Repository(self.repository, b"not this one")
        config = self.repository / "config"
        config.write_bytes(b"TVLT\2\1" + config.read_bytes()[6:])
        with self.assertRaisesRegex(Refused, "config has format version 2"):
            Repository(self.repository, self.passphrase)

    def test_a_chosen_passphrase_opens_all_and_a_write_only_key_lists(self):
        self.assertEqual(self.run_reader("check", key="chosen.key")[1:], ("", 0))
        listed = self.run_reader("ls", "-R", "latest", key="write-only.key")
        self.assertEqual(listed, self.run_reader("ls", "-R", "latest"))
        refused = self.run_reader("extract", "latest", self.folder.name + "/out", key="write-only.key")
        self.assertIn("of a write-only key", refused[1])

    def test_extract_writes_below_a_new_folder_only(self):
        target = Path(self.folder.name) / "out"
        _, errors, code = self.run_reader("extract", "latest", target)
        self.assertEqual((errors, code), ("", 0))
        self.assertIn("is not empty", self.run_reader("extract", "latest", target)[1])
        printed, _, _ = self.run_reader("ls", "-R", "latest")
        listed = {line[32:].rstrip("/") for line in printed.splitlines()}
        self.assertLessEqual({path.relative_to(target).as_posix() for path in target.rglob("*")}, listed)

    def test_the_index_says_what_the_headers_of_packs_say(self):
        repository = Repository(self.repository, self.passphrase)
        for name in repository.names("packs/*/*"):
            pack = tv_check.open_pack(repository.read(name), repository.secrets, name)
            self.assertEqual(tv_check.said_of(pack), tv_check.said_of(repository.packs[name]))


if __name__ == "__main__":
    unittest.main()
