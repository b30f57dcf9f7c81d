"""The bytes of a Tenantvault repository, format version 1: README, files.md and tree.md of format-spec, without I/O."""

import hmac
from types import SimpleNamespace

import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONFIG, KEY, CONTENTS, TREES, INDEX, SNAPSHOT, SET, RUN = range(1, 9)


class Damaged(Exception):
    """Something is missing, or not as the format says; the message names it."""


# README, "Encoding of structures": a type is a function that takes its value from the front of Bytes.
class Bytes:
    """Foreign bytes, taken from the front, and what they are, for messages."""

    def __init__(self, data, what):
        self.data, self.what, self.at = data, what, 0

    def wrong(self, why):
        return Damaged(f"{self.what} is damaged: {why} at byte {self.at}")

    def take(self, count):
        if count > len(self.data) - self.at:
            raise self.wrong("cut short")
        self.at += count
        return self.data[self.at - count:self.at]

    def integer(self, bits=64):
        first = self.take(1)[0]
        if first <= 250:
            return first
        width, least = {251: (2, 251), 252: (4, 1 << 16), 253: (8, 1 << 32)}.get(first, (9, 0))
        if width * 8 > bits or (value := int.from_bytes(self.take(width), "little")) < least:
            raise self.wrong("not an integer, or not its shortest form")
        return value


def u8(b): return b.take(1)[0]
def u16(b): return b.integer(16)
def u32(b): return b.integer(32)
def u64(b): return b.integer()
def i64(b): return -(n >> 1) - 1 if (n := u64(b)) & 1 else n >> 1
def data(b): return b.take(u64(b))
def boolean(b): return choice(False, True)(b)
def fixed(count): return lambda b: b.take(count)
def list_of(item): return lambda b: [item(b) for _ in range(u64(b))]
def tuple_of(*items): return lambda b: tuple(item(b) for item in items)
def option(item): return lambda b: item(b) if boolean(b) else None
def struct(**fields): return lambda b: SimpleNamespace(**{name: item(b) for name, item in fields.items()})


def choice(*cases):
    def take(b):
        if (case := u32(b)) >= len(cases):
            raise b.wrong(f"unknown case {case}")
        return cases[case]
    return take


def string(b):
    try:
        return data(b).decode()
    except UnicodeDecodeError:
        raise b.wrong("text is not UTF-8") from None


def parse(item, plain, what):
    b = Bytes(plain, what)
    value = item(b)
    if b.at < len(plain):
        raise b.wrong("bytes are left over")
    return value


def at(items, number, what):
    if number >= len(items):
        raise Damaged(f"{what} is damaged: it refers to number {number} of {len(items)}")
    return items[number]


# files.md, 4 to 9: structures
ID, SEALED_KEY = fixed(32), fixed(80)
ROOT = option(struct(id=ID, level=u8, records=u64))
KIND = choice(*(
    "mail folder, mail search folder, message, folder, package, file, shortcut, attachment, version, permission, "
    "calendar group, calendar, event, contact folder, contact, task list, task, category, rule, setting, thread, "
    "post, list, list item, column, content type, page, term group, term set, term, channel, chat, member, tab, "
    "app, tag, chat message, hosted content, plan, bucket").split(", "))
CONTAINERS = (
    "mail folder, mail search folder, folder, package, calendar group, calendar, contact folder, task list, "
    "thread, list, term group, term set, term, channel, chat, plan, bucket").split(", ")
SLOT_CLEAR = struct(repository=ID, right=choice("owner", "write-only"), label=string, made=i64, memory=u32, passes=u32,
                    lanes=u32, salt=fixed(16))
SLOT_SECRETS = struct(private=option(ID), public=ID, psk=ID, state=ID, id=ID)
CONFIG_FIELDS = struct(repository=ID, made=i64, chunker_seed=ID, smallest=u32, average=u32, largest=u32,
                       small_stream=u32, segment=u32, pack=u32)
PACK_FIELDS = struct(keys=list_of(SEALED_KEY), blobs=list_of(struct(id=ID, stored=u32, plain=u32, key=u32, nonce=u64)))
INDEX_FIELDS = struct(
    packs=list_of(struct(id=ID, kind=choice(CONTENTS, TREES), size=u64, salt=ID, keys=list_of(SEALED_KEY))),
    blobs=list_of(struct(id=ID, pack=u32, offset=u32, stored=u32, plain=u32, key=u32, nonce=u64)),
    chunks=list_of(struct(id=fixed(16), blob=u32, offset=u32, length=u32)),
    marks=list_of(tuple_of(ID, i64)), replaces=list_of(ID))
TOTALS = tuple_of(*[u64] * 11)
SNAPSHOT_FIELDS = struct(
    set=ID, set_name=string, tenant=string, time=i64, ended=i64, host=string, program=string, tags=list_of(string),
    parent=option(ID), complete=boolean, catalog=ROOT, gaps=ROOT, totals=TOTALS)
COLLECTION = struct(key=string, name=string, items=ROOT, children=ROOT,
                    cursors=option(list_of(tuple_of(string, string))), read=i64, complete=boolean)


def encoding(b):
    form = struct(line=u16, crlf=boolean)(b) if choice(False, True)(b) else None
    if form and not (4 <= form.line <= 996 and form.line % 4 == 0):
        raise b.wrong("no such lines of Base64")
    return form


RECORD = struct(
    id=string, parent=string, name=string, kind=KIND, created=option(i64), modified=option(i64), sort=option(i64),
    size=u64, version=string, summary=list_of(tuple_of(string, string)),
    streams=list_of(struct(
        role=choice("properties", "mime", "contents"), size=u64, source_hash=string,
        pieces=list_of(struct(base64=encoding, depth=choice(*range(6)), extents=list_of(tuple_of(ID, u32, u32)))))))


# README, "Cryptography", and files.md, 3
def keyed(key, message): return blake3(message, key=key).digest()
def derive(context, material): return blake3(material, derive_key_context=f"tenantvault v1 {context}").digest()
def sub_key(secrets, kind, salt): return derive("state sub-key", secrets.state + bytes([kind]) + salt)


def decrypt(key, counter, sealed, associated, what):
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(4) + counter.to_bytes(8, "little"), sealed, associated)
    except (InvalidTag, ValueError):
        raise Damaged(f"{what} is damaged: it does not decrypt") from None


def unpack(frame, limit, what):
    """One Zstandard frame, of at most limit bytes."""
    try:
        if zstandard.frame_content_size(frame) <= limit:
            return zstandard.ZstdDecompressor().decompress(frame, max_output_size=limit, allow_extra_data=False)
    except zstandard.ZstdError:
        pass
    raise Damaged(f"{what} is damaged: it does not unpack to at most {limit} bytes")


def open_sealed_key(secrets, sealed, what):
    """HPKE (RFC 9180), mode_psk, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305."""
    def extract(suite, salt, label, material):
        return hmac.digest(salt, b"HPKE-v1" + suite + label + material, "sha256")

    def expand(suite, key, label, info, size):  # never more than one block of SHA-256
        return hmac.digest(key, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\1", "sha256")[:size]

    kem, hpke, enc = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03", sealed[:32]
    try:
        shared = X25519PrivateKey.from_private_bytes(secrets.private).exchange(X25519PublicKey.from_public_bytes(enc))
        shared = expand(kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + secrets.public, 32)
        secret = extract(hpke, shared, b"secret", secrets.psk)
        context = b"\1" + extract(hpke, b"", b"psk_id_hash", b"tenantvault v1 psk") \
            + extract(hpke, b"", b"info_hash", b"tenantvault v1 pack key")
        key, nonce = expand(hpke, secret, b"key", context, 32), expand(hpke, secret, b"base_nonce", context, 12)
        return ChaCha20Poly1305(key).decrypt(nonce, sealed[32:], b"")
    except (InvalidTag, ValueError):
        raise Damaged(f"{what} is damaged: a sealed key does not open") from None


def expect_kind(file, kinds, what):
    if len(file) < 6 or file[:4] != b"TVLT" or file[4] == 1 and file[5] not in kinds:
        raise Damaged(f"{what} is damaged, or in the wrong place: it does not begin as its place asks")
    if file[4] != 1:
        raise Damaged(f"{what} has format version {file[4]}; this reader knows version 1: take a newer program")


def open_slot(file, passphrase, what):
    """files.md, 4: the secrets of a key slot, with its repository's id beside them."""
    expect_kind(file, [KEY], what)
    b = Bytes(file[6:], what)
    slot = SLOT_CLEAR(b)
    clear, sealed = b.data[:b.at], parse(data, b.data[b.at:], what)
    if not (8 <= slot.memory <= 4_194_304 and 1 <= slot.passes <= 64 and 1 <= slot.lanes <= 16
            and slot.memory * slot.passes <= 16_777_216):
        raise Damaged(f"{what} is damaged: it asks for more work than the format allows")
    key = hash_secret_raw(passphrase, slot.salt, slot.passes, slot.memory, slot.lanes, 32, Type.ID, 0x13)
    secrets = parse(SLOT_SECRETS, decrypt(key, 0, sealed, clear, what), what)
    if (slot.right == "owner") != (secrets.private is not None):
        raise Damaged(f"{what} is damaged: it says another right than it gives")
    secrets.repository = slot.repository
    return secrets


def open_document(file, kind, fields, secrets, what):
    expect_kind(file, [kind], what)
    plain = decrypt(sub_key(secrets, kind, file[6:38]), 0, file[38:], file[:38], what)
    if plain[:1] not in (b"\0", b"\1"):
        raise Damaged(f"{what} is damaged: it is packed in an unknown way")
    return parse(fields, unpack(plain[1:], 256 << 20, what) if plain[0] else plain[1:], what)


def parse_node(node, what):
    """tree.md: a node's level, its entries (inner ones have an id for a value), and its records and bytes in all."""
    b = Bytes(node, what)
    if b.take(2) != b"T\1":
        raise b.wrong("no tree node of version 1")
    level, entries, last, weight = u8(b), [], None, 0
    while b.at < len(node) or not entries:
        shared, own = u64(b), data(b)
        key = (last or b"")[:shared] + own
        ascends = last is None or own and (shared == len(last) or shared < len(last) and own[0] > last[shared])
        if level:
            entry = SimpleNamespace(key=key, id=ID(b), records=u64(b), size=u64(b))
        else:
            entry = SimpleNamespace(key=key, value=data(b), records=1, size=0)
        fits = len(key) == shared + len(own) <= 16_384 and (entry.size if level else len(entry.value) <= 1_048_576)
        if level > 40 or weight >= 65_536 or not (ascends and fits and entry.records):
            raise b.wrong("an entry that must not be there")
        weight, last = weight + len(key) + (48 if level else len(entry.value) + 8), key
        entries.append(entry)
    return SimpleNamespace(level=level, entries=entries, records=sum(entry.records for entry in entries),
                           size=len(node) + sum(entry.size for entry in entries))
