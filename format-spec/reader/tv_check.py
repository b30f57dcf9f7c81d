"""Verifies all of a repository, rules for writers included: files by their names and tags, blobs and chunks by their
ids, index files by the packs, trees down to where their nodes end, streams by their sizes and their sources' hashes."""

import base64
from contextlib import contextmanager

from blake3 import blake3

import tv_format as fmt
from tv_format import Damaged, i64, list_of, string, struct, tuple_of, u16, u32, u64
from tv_snapshot import Snapshot, shown

GAP = struct(collection=string, id=string, name=string, kind=fmt.option(fmt.KIND), reason=string, text=string,
             since=i64)
COVERAGE = struct(
    owner=string, name=string, workload=string, state=fmt.choice(
        "protected", "partly", "unreadable", "impossible", "nothing", "not selected", "left"),
    reason=string, items=u64, gaps=u64, since=i64)
RUN_FIELDS = struct(set=fmt.ID, began=i64, ended=i64, outcome=string, error=string, snapshot=fmt.option(fmt.ID),
                    totals=fmt.TOTALS, waits=list_of(tuple_of(string, u64)))
SET_VERSION = struct(version=u32, definition=fmt.data)
WORKLOAD = fmt.choice("mail", "onedrive", "contacts", "calendar", "tasks", "settings", "personal-site", "groups",
                      "sites", "teams", "chats")


def subject(b):
    kind = fmt.choice("users", "groups", "sites", "teams", "licences", "everything")(b)
    return kind, string(b) if kind != "everything" else None


def versions(b):
    kind = fmt.choice("current", "newest", "all")(b)
    return kind, u32(b) if kind == "newest" else None


def leavers(b):
    kind = fmt.choice("keep", "freeze", "drop after days")(b)
    return kind, u32(b) if kind == "drop after days" else None


# The options of the versions of set definitions.
SET_OPTIONS = {1: dict(recoverable_items=fmt.boolean), 2: dict(
    recoverable_items=fmt.boolean, versions=versions, retention_labels=fmt.boolean,
    skip=tuple_of(list_of(string), list_of(string), fmt.option(u64), fmt.option(u32)), leavers=leavers)}


def set_fields(version):
    return struct(
        name=string, tenant=tuple_of(string, string),
        rules=list_of(struct(effect=fmt.choice("include", "exclude"), subject=subject, workloads=list_of(WORKLOAD))),
        **SET_OPTIONS[version], destinations=list_of(string), keep=tuple_of(*[u32] * 7),
        within=fmt.option(tuple_of(u16, u16, u16, u16)), keep_tags=list_of(string), time_zone=string)


def open_pack(file, secrets, what):
    """files.md, 6: what the header of a pack says, and where each blob is."""
    fmt.expect_kind(file, [fmt.CONTENTS, fmt.TREES], what)
    start, end = file[:38], len(file) - 4 - int.from_bytes(file[-4:], "little")
    header = fmt.decrypt(fmt.sub_key(secrets, start[5], start[6:]), 2**64 - 1, file[max(end, 0):-4], start, what)
    pack = fmt.parse(fmt.PACK_FIELDS, header, what)
    pack.kind, pack.salt, pack.size, offset = start[5], start[6:], len(file), 38
    for blob in pack.blobs:
        blob.pack, blob.offset, offset = pack, offset, offset + blob.stored
    if offset != end:
        raise Damaged(f"{what} is damaged: its blobs do not fill it")
    return pack


def check(repository, _=None):
    """A line for all that is wrong."""
    problems = Check(repository).problems
    print(f"Looked at {len(repository.packs)} packs and all that snapshots hold: {len(problems) or 'no'} problems")
    return problems


class Check:
    def __init__(self, repository):
        self.repository, self.problems, self.done = repository, list(map(str, repository.damaged)), set()
        self.chunk_id_key = fmt.derive("chunk id", repository.secrets.id)
        with self.noted():
            check_config(repository.config)
        for name in repository.names("keys/*"):
            with self.noted():
                repository.read(name)
        for name in sorted({*repository.packs, *repository.names("packs/*/*")}):
            with self.noted():
                self.pack(name)
        for name in repository.names("snapshots/*/*"):
            with self.noted():
                self.snapshot(Snapshot(repository, name))
        for name in repository.names("runs/*/*"):
            with self.noted():
                run = repository.document(name, fmt.RUN, RUN_FIELDS)
                self.expect(name.split("/")[1] == run.set.hex(), f"{name} is in the folder of another set")
        for name in repository.names("sets/*"):
            with self.noted():
                set_definition(repository.document(name, fmt.SET, fmt.data), name)

    @contextmanager
    def noted(self):
        try:
            yield
        except (Damaged, OSError) as damage:
            self.expect(False, str(damage))

    def expect(self, right, problem):
        if not right and problem not in self.problems:
            self.problems.append(problem)

    def pack(self, name):
        if not (self.repository.folder / name).is_file():
            raise Damaged(f"{name} is missing")
        file = self.repository.read(name)
        pack = open_pack(file, self.repository.secrets, name)
        pack.name = name
        if indexed := self.repository.packs.get(name):
            self.expect(said_of(pack) == said_of(indexed), f"{name} and its index file do not say the same")
        for blob in pack.blobs:
            with self.noted():
                plain = self.repository.open_blob(blob, file[blob.offset:blob.offset + blob.stored])
                for chunk in self.repository.chunks.get(blob.id, ()):
                    there = plain[chunk.offset:chunk.offset + chunk.length]
                    right = len(there) == chunk.length and fmt.keyed(self.chunk_id_key, there)[:16] == chunk.id
                    self.expect(right, f"Chunk {chunk.id.hex()} is not where an index file says, in {name}")

    def snapshot(self, snapshot):
        fields, repository = snapshot.fields, self.repository
        id = blake3(repository.secrets.repository + fields.set_name.encode()).hexdigest()
        self.expect(snapshot.name.split("/")[1] == fields.set.hex() == id, f"{snapshot.name} is of another set")
        catalog = list(self.tree(fields.catalog))
        for key, value in self.tree(fields.gaps):
            gap = fmt.parse(GAP, value, f"a gap of {snapshot.name}")
            self.expect(key == f"{gap.collection}\0{gap.id}".encode(), f"A gap of {snapshot.name} has another's key")
        states = snapshot.collections()
        entries = {(f"k{state.key}".encode()) for state in states} | {f"n{state.name}".encode() for state in states}
        for key, value in [entry for entry in catalog if entry[0][:1] == b"c"]:
            part = fmt.parse(COVERAGE, value, f"the coverage of {snapshot.name}")
            right = key == f"c{part.owner}\0{part.workload}".encode()
            self.expect(right, f"An entry of the coverage of {snapshot.name} has another's key")
            entries.add(key)
        self.expect({key for key, _ in catalog} == entries, f"The catalog of {snapshot.name} is not in order")
        for state in states:
            with self.noted():
                self.collection(state)

    def collection(self, collection):
        name, listed = shown(collection.name), {key for key, _ in self.tree(collection.children)}
        for id, value in self.tree(collection.items):
            record = fmt.parse(fmt.RECORD, value, f"item {shown(id.decode(errors='replace'))} of {name}")
            right = record.id.encode() == id and children_key(record) in listed
            self.expect(right, f"Item {shown(record.id)} of {name} is not where it must be in its trees")
            listed.discard(children_key(record))
            for stream in record.streams if value not in self.done else ():
                with self.noted():
                    self.stream(stream, f"the {stream.role} of '{shown(record.name)}' in {name} ({shown(record.id)})")
            self.done.add(value)
        self.expect(not listed, f"The folders of {name} list what is not there")

    def stream(self, stream, what):
        contents = self.repository.stream(stream, what)
        if stream.source_hash.startswith("quickXorHash:"):
            hashed = "quickXorHash:" + base64.b64encode(quick_xor_hash(contents)).decode()
            self.expect(stream.source_hash == hashed, f"{what} does not have the hash that its source gave")
        for _ in contents:
            pass

    def tree(self, root):
        """Yields a tree's records, and verifies that its keys ascend and its nodes end where they must."""
        before = None
        for key, value in self.repository.records(root):
            self.expect(before is None or key > before, f"The keys of tree {root.id.hex()} do not ascend")
            yield key, value
            before = key
        if root:
            right = root.level == 0 or len(self.repository.node(root.id).entries) > 1
            self.expect(right, f"Tree {root.id.hex()} is higher than it must be")
            self.cuts(root.id, last=True)

    def cuts(self, id, last):
        if (id, last) in self.done:
            return
        self.done.add((id, last))
        node, weight = self.repository.node(id), 0
        for number, entry in enumerate(node.entries, 1):
            own = len(entry.key) + (48 if node.level else len(entry.value) + 8)
            weight, at_end = weight + own, number == len(node.entries)
            right = at_end and last or ends(node.level, number, entry.key, own, weight) == at_end
            self.expect(right, f"Tree node {id.hex()} does not end where it must")
            if node.level:
                self.cuts(entry.id, last and at_end)


def said_of(pack):
    blobs = {(blob.id, blob.offset, blob.stored, blob.plain, blob.key, blob.nonce) for blob in pack.blobs}
    return pack.kind, pack.salt, pack.size, pack.keys, blobs


def set_definition(stored, what):
    versioned = fmt.parse(SET_VERSION, stored, what)
    if versioned.version not in SET_OPTIONS:
        raise Damaged(f"{what} has version {versioned.version} of set definitions; this reader knows up to 2")
    return fmt.parse(set_fields(versioned.version), versioned.definition, what)


def check_config(config):
    """files.md, 5."""
    smallest, average, largest = config.smallest, config.average, config.largest
    if (smallest % 2 or average % 2 or largest % 2 or not 64 <= smallest < average < largest <= 16 << 20
            or not 256 <= average <= 8 << 20 or largest < 1024 or not largest <= config.segment <= 16 << 20
            or config.small_stream > 16 << 20 or not 0 < config.pack <= 512 << 20):
        raise Damaged("config is damaged: its sizes are not allowed")


def cut_hash(level, key):
    return int.from_bytes(blake3(bytes([level]) + key).digest()[:4], "little")


def ends(level, number, key, own, weight):
    """tree.md, "Where a node ends": after its entry of this number, key and weight, when all weigh so much?"""
    if level and number < 2:
        return False
    return weight >= 65_536 or weight > 8_192 and cut_hash(level, key) < 32 * own * (weight - 8_192)


def children_key(record):
    """tree.md, "Collections"."""
    def cut(text):
        return text.encode()[:2048].decode(errors="ignore").replace("\0", "").encode() + b"\0"

    folded = "".join(char.lower() if char < "\u0590" or "\u1e00" <= char <= "\u1fff" else char for char in record.name)
    start = blake3(record.parent.encode()).digest()[:16]
    if record.kind not in fmt.CONTAINERS and record.sort is not None:
        return start + b"\3" + (record.sort + (1 << 63)).to_bytes(8, "big") + record.id.encode()
    place = b"\1" if record.kind in fmt.CONTAINERS else b"\2"
    return start + place + cut(folded) + cut(record.name) + record.id.encode()


def quick_xor_hash(chunks):
    """Microsoft's: byte i is XORed into a ring of 160 bits at bit 11 i, the length into its last 64 bits."""
    columns, length, ring = 0, 0, 0
    for chunk in chunks:
        aligned = bytes(length % 160) + chunk
        for at in range(0, len(aligned), 160):
            columns ^= int.from_bytes(aligned[at:at + 160], "little")
        length += len(chunk)
    for position, byte in enumerate(columns.to_bytes(160, "little")):
        ring ^= byte << position * 11 % 160
    ring = (ring ^ ring >> 160) % (1 << 160)
    return (ring ^ length << 96).to_bytes(20, "little")
