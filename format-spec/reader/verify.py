#!/usr/bin/env python3
"""Holds the reader against the program: what both read of one repository must be equal, byte by byte.

    verify.py record TENANTVAULT REPOSITORY PASSWORD_FILE > expected.json    what the program reads
    verify.py compare REPOSITORY PASSWORD_FILE expected.json                 check, and what the reader extracts
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import tv_check
import tv_reader
from tv_repository import Repository


def record(program, folder, password_file):
    """Every item of every snapshot: id, path, kind, and size and SHA-256 of its contents and its properties."""
    def run(*arguments, lines=False):
        command = [program, "--no-cache", "-r", folder, "-p", password_file, *arguments]
        done = subprocess.run(command, capture_output=True)
        return [json.loads(line) for line in done.stdout.splitlines()] if lines else (done.returncode, done.stdout)

    def taken(line):
        return line.get("time_us", 0)

    def place(line):
        """Ids of channels' messages are not unique."""
        return line["id"], line["path"]

    def item(snapshot, listed):
        found = {name: listed[name] for name in ("id", "path", "kind")}
        for name, option in ("contents", ["--raw"]), ("properties", ["--properties"]):
            code, bytes_ = run("cat", *option, f"{snapshot}:{listed['path']}")
            if code == 0:
                found[name] = [len(bytes_), hashlib.sha256(bytes_).hexdigest()]
        return found

    # What the program takes for the same as in the snapshot before is not read by it again: each reading is a process.
    # The reader reads it again, and so sees whether that is true.
    expected, before, earlier = {}, {}, None
    for snapshot in (line["id"] for line in sorted(run("snapshots", "--json", lines=True), key=taken) if "id" in line):
        changes = run("diff", "--json", earlier, snapshot, lines=True) if earlier else []
        changed = {place(line) for line in changes if "id" in line}
        listed = [line for line in run("ls", "-R", "--json", snapshot, lines=True) if "id" in line]
        with ThreadPoolExecutor(2) as pool:
            expected[snapshot] = list(pool.map(
                lambda line: (place(line) not in changed and before.get(place(line))) or item(snapshot, line), listed))
        before, earlier = {place(item): item for item in expected[snapshot]}, snapshot
    json.dump(expected, sys.stdout, indent=1, ensure_ascii=False)
    print()


def compare(folder, password_file, expected_file):
    options = SimpleNamespace(password_file=password_file)
    repository = Repository(folder, tv_reader.passphrase(options))
    problems = tv_check.check(repository)
    expected = json.loads(Path(expected_file).read_text())
    snapshots, items, bytes_ = {snapshot.id: snapshot for snapshot in tv_reader.all_snapshots(repository)}, 0, 0
    if snapshots.keys() != expected.keys() or not snapshots:
        problems.append(f"The snapshots are {sorted(snapshots)}, expected are {sorted(expected)}")
    for id in snapshots.keys() & expected.keys():
        with tempfile.TemporaryDirectory() as out:
            options.target, options.folder = id, out
            problems += map(str, tv_reader.extract(repository, options))
            found = {record.id: read(repository, record, Path(out).joinpath(*parts))
                     for parts, _, record in snapshots[id].walk() if record}
        wanted = {item.pop("id"): item for item in expected[id]}
        for item in found.keys() | wanted.keys():
            read_, want = found.get(item), dict(wanted.get(item, {}))
            path = want.pop("path", "?")
            if read_ != want:
                problems.append(f"{id[:8]}:{path} (item {item}): expected {want}, read {read_}")
            items, bytes_ = items + 1, bytes_ + (read_ or {}).get("contents", [0])[0]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(snapshots)} snapshots, {items} items, {bytes_} bytes compared: {len(problems)} problems")
    return 1 if problems or not items else 0


def read(repository, record, file):
    """What the reader makes of an item, as `record` writes it."""
    found = {"kind": record.kind.replace(" ", "_")}
    if file.is_file():
        found["contents"] = [file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()]
    for stream in record.streams:
        if stream.role == "properties":
            bytes_ = b"".join(repository.stream(stream, record.id))
            found["properties"] = [len(bytes_), hashlib.sha256(bytes_).hexdigest()]
    return found


if __name__ == "__main__":
    command = {"record": record, "compare": compare}.get("".join(sys.argv[1:2]))
    sys.exit(command(*sys.argv[2:]) if command and len(sys.argv) == 5 else __doc__)
