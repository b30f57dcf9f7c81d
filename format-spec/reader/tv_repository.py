"""A Tenantvault repository in a local folder: its files, index, blobs, trees and streams."""

import base64
from functools import lru_cache
from pathlib import Path

from blake3 import blake3

import tv_format as fmt


class Refused(Exception): """What was asked for cannot be done; the message says why."""


class Repository:
    def __init__(self, folder, passphrase):
        self.folder = Path(folder)
        if not (self.folder / "config").is_file():
            raise Refused(f"{folder} holds no repository: there is no file 'config' in it")
        self.secrets, self.config = self.open_key(passphrase)
        self.pack_key = lru_cache(256)(lambda sealed, what: fmt.open_sealed_key(self.secrets, sealed, what))
        self.blob = lru_cache(8)(self.read_blob)
        self.node = lru_cache(64)(lambda id: fmt.parse_node(self.blob(fmt.TREES, id), f"tree node {id.hex()}"))
        self.load_index()

    def names(self, pattern):
        """The files of such names, relative to the repository; what has no name of the format is ignored."""
        names = [path.relative_to(self.folder).as_posix() for path in self.folder.glob(pattern) if path.is_file()]
        return sorted(name for name in names if name[-65:-64] == "/" and not name[-64:].strip("0123456789abcdef"))

    def read(self, name):
        """A whole file, held against its name."""
        file = (self.folder / name).read_bytes()
        if name != "config" and blake3(file).hexdigest() != name[-64:]:
            raise fmt.Damaged(f"{name} is damaged: its bytes do not have the hash that is its name")
        return file

    def document(self, name, kind, fields):
        return fmt.open_document(self.read(name), kind, fields, self.secrets, name)

    def open_key(self, passphrase):
        """The secrets and the config. A slot that opens but does not fit the config is of an init that was cut off."""
        failures = []
        for name in self.names("keys/*"):
            try:
                secrets = fmt.open_slot(self.read(name), passphrase, name)
                config = fmt.open_document(self.read("config"), fmt.CONFIG, fmt.CONFIG_FIELDS, secrets, "config")
                if config.repository == secrets.repository:
                    return secrets, config
            except fmt.Damaged as failure:
                failures.append(f"\n  {failure}")
        raise Refused("Nothing opens: the passphrase is wrong, or keys or config are damaged" + "".join(failures))

    def load_index(self):
        """Reads the index files but those that others replace, and those that are damaged."""
        self.packs, self.places, self.chunks, self.damaged, files = {}, {}, {}, [], {}
        for name in self.names("index/*"):
            try:
                files[name] = self.document(name, fmt.INDEX, fmt.INDEX_FIELDS)
            except fmt.Damaged as damage:
                self.damaged.append(damage)
        for replaced in [id for index in files.values() for id in index.replaces]:
            files.pop(f"index/{replaced.hex()}", None)
        for name, index in files.items():
            for pack in index.packs:
                pack.name, pack.blobs = f"packs/{pack.id.hex()[:2]}/{pack.id.hex()}", []
                self.packs[pack.name] = pack
            for blob in index.blobs:
                blob.pack = fmt.at(index.packs, blob.pack, name)
                blob.pack.blobs.append(blob)
                self.places.setdefault((blob.pack.kind, blob.id), []).append(blob)
            for chunk in index.chunks:
                self.chunks.setdefault(fmt.at(index.blobs, chunk.blob, name).id, []).append(chunk)

    def read_blob(self, kind, id):
        places = self.places.get((kind, id), [])
        for place in places:
            if (path := self.folder / place.pack.name).is_file():
                with open(path, "rb") as file:
                    file.seek(place.offset)
                    return self.open_blob(place, file.read(place.stored))
        lost = [place.pack.name for place in places] or self.damaged
        raise fmt.Damaged(f"blob {id.hex()} is missing" + "".join(f"; {what}" for what in lost))

    def open_blob(self, place, sealed):
        what = f"blob {place.id.hex()} in {place.pack.name}"
        if place.pack.kind == fmt.TREES:
            world, key = "tree", fmt.sub_key(self.secrets, fmt.TREES, place.pack.salt)
        elif self.secrets.private:
            world, key = "content", self.pack_key(fmt.at(place.pack.keys, place.key, what), place.pack.name)
        else:
            raise Refused("This passphrase is of a write-only key: contents do not open with it")
        plain = fmt.decrypt(key, place.nonce, sealed, place.id, what)
        if len(plain) != place.plain:
            plain = fmt.unpack(plain, min(place.plain, 16 << 20), what)
        id_key = fmt.derive(f"{world} blob id", self.secrets.id)
        if len(plain) != place.plain or fmt.keyed(id_key, plain) != place.id:
            raise fmt.Damaged(f"{what} is damaged: its plaintext is not the one of its id")
        return plain

    def records(self, root, start=b""):
        """The (key, value) of a tree in order, from the first key on that is not below start."""
        return self.below(root, root.level, start) if root else iter(())

    def below(self, named, level, start):
        """The same of one node, which is held against the root or entry that names it."""
        node = self.node(named.id)
        last, size = getattr(named, "key", node.entries[-1].key), getattr(named, "size", node.size)
        if (level, named.records, last, size) != (node.level, node.records, node.entries[-1].key, node.size):
            raise fmt.Damaged(f"tree node {named.id.hex()} is damaged: it is not what is said above it")
        for entry in node.entries:
            if entry.key >= start:
                yield from self.below(entry, level - 1, start) if level else [(entry.key, entry.value)]

    def stream(self, stream, what):
        """Yields the bytes of a stream."""
        size = 0
        for piece in stream.pieces:
            extents = piece.extents
            for _ in range(piece.depth):
                extents = self.listed(extents, what)
            chunks = (self.cut(fmt.CONTENTS, extent, what) for extent in extents)
            for chunk in base64_lines(chunks, piece.base64) if piece.base64 else chunks:
                if (size := size + len(chunk)) > stream.size:
                    break
                yield chunk
        if size != stream.size:
            raise fmt.Damaged(f"{what} is damaged: its stream has not the {stream.size} bytes that its record says")

    def listed(self, extents, what):
        """The extents that are listed in these, 40 bytes each."""
        for extent in extents:
            listed = self.cut(fmt.TREES, extent, what)
            if len(listed) % 40:
                raise fmt.Damaged(f"{what} is damaged: a list of extents is cut short")
            for at in range(0, len(listed), 40):
                yield listed[at:at + 32], *(int.from_bytes(listed[at + n:at + n + 4], "little") for n in (32, 36))

    def cut(self, kind, extent, what):
        id, offset, length = extent
        if offset + length > len(blob := self.blob(kind, id)):
            raise fmt.Damaged(f"{what} is damaged: an extent reaches beyond blob {id.hex()}")
        return blob[offset:offset + length]


def base64_lines(chunks, form):
    line, end, rest = form.line // 4 * 3, b"\r\n" if form.crlf else b"\n", b""
    for chunk in chunks:
        rest += chunk
        whole = len(rest) - len(rest) % line
        yield b"".join(base64.b64encode(rest[at:at + line]) + end for at in range(0, whole, line))
        rest = rest[whole:]
    yield base64.b64encode(rest) + end if rest else b""
