#!/usr/bin/env python3
"""Reads a Tenantvault repository in a local folder: an independent reader, written from format-spec/*.md alone."""

import argparse
import os
import sys
from pathlib import Path

import tv_format as fmt
from tv_check import check
from tv_repository import Refused, Repository
from tv_snapshot import Snapshot, shown, time_text


def all_snapshots(repository):
    found = [Snapshot(repository, name) for name in repository.names("snapshots/*/*")]
    return sorted(found, key=lambda snapshot: (snapshot.fields.time, snapshot.id))


def target(repository, options):
    """The snapshot and the path that SNAPSHOT[:PATH] names."""
    name, _, path = options.target.partition(":")
    found = all_snapshots(repository)
    found = found[-1:] if name == "latest" else [snapshot for snapshot in found if snapshot.id.startswith(name)]
    if len(found) != 1:
        raise Refused(f"'{name}' names {len(found)} snapshots: give 'latest', or the beginning of one id")
    if next(found[0].walk(path, 1), None) is None:
        raise Refused(f"There is no '{path}' in snapshot {found[0].id[:8]}")
    return found[0], path


def snapshots(repository, _):
    for id, fields in ((snapshot.id, snapshot.fields) for snapshot in all_snapshots(repository)):
        print(id[:8], time_text(fields.time, "%Y-%m-%d %H:%M:%S"), shown(fields.set_name), f"{fields.totals[1]} items",
              f"{fields.totals[5]} gaps", "" if fields.complete else "incomplete", sep="  ")


def ls(repository, options):
    snapshot, path = target(repository, options)
    for parts, _, record in snapshot.walk(path, None if options.recursive else 1):
        path = "/".join(parts) + ("/" if record is None or record.kind in fmt.CONTAINERS else "")
        print(f"{record.size if record else '':>12}  {time_text(record and record.modified):16}  {path}")


def cat(repository, options):
    snapshot, path = target(repository, options)
    _, _, record = next(snapshot.walk(path, 1))
    if record is None or not (contents := snapshot.contents(record)):
        raise Refused(f"'{path}' has no contents in snapshot {snapshot.id[:8]}")
    sys.stdout.buffer.writelines(contents)


def extract(repository, options):
    (snapshot, path), folder = target(repository, options), Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Refused(f"{folder} is not empty: name a new folder")
    for parts, _, record in snapshot.walk(path):
        file = folder.joinpath(*parts)
        if record is None or record.kind in fmt.CONTAINERS:
            file.mkdir(parents=True, exist_ok=True)
        elif contents := snapshot.contents(record):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(file, "xb") as out:
                    out.writelines(contents)
            except fmt.Damaged as damage:
                file.unlink()
                yield damage
        else:
            print(f"'{'/'.join(parts)}' has no contents in this snapshot")


def passphrase(options):
    given = os.fsencode(os.environ.get("TENANTVAULT_PASSWORD", ""))
    given = Path(options.password_file).read_bytes() if options.password_file else given
    if not given:
        raise Refused("No passphrase: set TENANTVAULT_PASSWORD, or give --password-file")
    return given.removesuffix(b"\n").removesuffix(b"\r") if given.endswith(b"\n") else given


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--repo", required=True, help="the repository's folder")
    parser.add_argument("-p", "--password-file", help="a file with the passphrase; else TENANTVAULT_PASSWORD holds it")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, text in ((snapshots, "list the snapshots"), (ls, "list what is at a path"), (check, "verify every byte"),
                      (cat, "print a message or file"), (extract, "write messages and files to a new folder")):
        command = commands.add_parser(run.__name__, help=text)
        command.set_defaults(run=run)
        if run in (ls, cat, extract):
            command.add_argument("target", metavar="SNAPSHOT[:PATH]", help="the beginning of an id, or 'latest'")
        if run is ls:
            command.add_argument("-R", "--recursive", action="store_true", help="also what is below")
        if run is extract:
            command.add_argument("folder", metavar="DIR")
    options, failed = parser.parse_args(arguments), False
    try:
        for problem in options.run(Repository(options.repo, passphrase(options)), options) or ():
            failed = True
            print(problem, file=sys.stderr)
    except (fmt.Damaged, Refused, OSError) as error:
        failed = True
        print(f"Error: {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
