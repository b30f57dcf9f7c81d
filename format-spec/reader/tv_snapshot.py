"""A snapshot: its collections, and what is in them, by paths that any disk takes."""

import os
import unicodedata
from datetime import datetime, timedelta, timezone

from blake3 import blake3

import tv_format as fmt


def meant(record):
    """The role of the stream that people mean by an item."""
    contents = record.kind in ("file", "attachment", "version", "hosted content") and ("form", "json") not in record.summary
    return "mime" if record.kind == "message" else "contents" if contents else "properties"


class Snapshot:
    def __init__(self, repository, name):
        self.repository, self.name, self.id = repository, name, name[-64:]
        self.fields = repository.document(name, fmt.SNAPSHOT, fmt.SNAPSHOT_FIELDS)
        if self.fields.set.hex() != name.split("/")[1]:
            raise fmt.Damaged(f"{name} is damaged: it is of another set")

    def collections(self):
        """The states of all collections, by name."""
        states = [value for key, value in self.repository.records(self.fields.catalog, b"k") if key[:1] == b"k"]
        states = [fmt.parse(fmt.COLLECTION, state, f"a collection of {self.name}") for state in states]
        return sorted(states, key=lambda state: state.name)

    def folder(self, collection, folder):
        """The (name, record) of what is in a folder, in order; the names differ on any disk."""
        prefix, taken = blake3(folder.encode()).digest()[:16], set()
        for key, _ in self.repository.records(collection.children, prefix):
            if key[:16] != prefix:
                break
            id = key[25:] if key[16:17] == b"\3" else key[17:].split(b"\0", 2)[-1]
            what = f"item {shown(id.decode(errors='replace'))} of {shown(collection.name)}"
            at, value = next(self.repository.records(collection.items, id), (None, b""))
            record = fmt.parse(fmt.RECORD, value, what) if at == id else None
            if not record or (record.id.encode(), record.parent) != (id, folder):
                raise fmt.Damaged(f"{what} is damaged: it is not what its folder lists")
            yield unique(record, taken), record

    def walk(self, path="", depth=None):
        """Yields (path in parts, collection, record or None) of what is at and below a path, folders first."""
        wanted, seen = tuple(filter(None, path.split("/"))), set()
        deepest = len(wanted) + depth if depth else float("inf")
        for collection in self.collections():
            name = tuple(map(safe, collection.name.split("/")))
            if name[:len(wanted)] != wanted[:len(name)]:
                continue
            for place in (name[:end] for end in range(max(len(wanted), 1), len(name) + 1)):
                if len(place) <= deepest and place not in seen:
                    seen.add(place)
                    yield place, collection, None
            waiting = [(name, None)]
            while waiting:
                here, record = waiting.pop()
                if record and len(here) >= len(wanted):
                    yield here, collection, record
                parts = record and record.kind not in fmt.CONTAINERS
                if len(here) < deepest and not (parts and "parts" not in dict(record.summary)):
                    below = (*here[:-1], os.path.splitext(here[-1])[0] + ".parts") if parts else here
                    for name, child in reversed([*self.folder(collection, record.id if record else "")]):
                        if (*below, name)[:len(wanted)] == wanted[:len(below) + 1]:
                            waiting.append(((*below, name), child))

    def contents(self, record):
        """The bytes that people mean: a message's MIME form, a file's contents, else Graph's JSON. None if not there."""
        for stream in record.streams:
            if record.kind != "shortcut" and stream.role == meant(record):
                return self.repository.stream(stream, f"'{shown(record.name)}' (item {shown(record.id)})")


def shown(text):
    """Foreign text, fit for a terminal."""
    return "".join(char if char.isprintable() else "_" for char in text)


def safe(name):
    """A foreign name, as one part of a path."""
    name = "".join("_" if char in '<>:"/\\|?*' else char for char in shown(name))
    return name.encode()[:200].decode(errors="ignore").rstrip(". ") or "_"


def unique(record, taken):
    """A record's name on a disk, with a number if it is taken; disks may ignore case and forms of Unicode."""
    stem, ending = os.path.splitext(safe(record.name))
    if record.kind == "message":
        stem, ending = safe(f"{time_text(record.sort, '%Y-%m-%d %H%M')} {record.name or '(no subject)'}"), ".eml"
    elif meant(record) == "properties" and record.kind not in (*fmt.CONTAINERS, "shortcut"):
        stem, ending = safe(record.name), ".json"
    name, number = stem + ending, 1
    while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
        number += 1
        name = f"{stem} ({number}){ending}"
    taken.add(key)
    return name


def time_text(microseconds, form="%Y-%m-%d %H:%M"):
    """A time in UTC; nothing if there is none, or none that a calendar has."""
    try:
        return format(datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=microseconds), form)
    except (TypeError, OverflowError):
        return ""
