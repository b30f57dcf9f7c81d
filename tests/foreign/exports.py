#!/usr/bin/env python3
"""Opens what `tenantvault export` writes with programs that nobody here wrote.

    exports.py PROGRAM REPOSITORY PASSWORD_FILE [SNAPSHOT]

Needs `icalendar` and `vobject` from PyPI beside Python's own email, mailbox, zipfile, tarfile and csv. Ends with 0 and says what
it read, or with 1 at the first thing that does not hold.
"""

import calendar
import csv
import datetime
import email
import email.policy
import html.parser
import io
import json
import mailbox
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import icalendar
import vobject
from dateutil.rrule import rrulestr

program, repository, password_file, *more = sys.argv[1:]
snapshot = more[0] if more else "latest"
read = Counter()


def run(*arguments, stdout=subprocess.PIPE):
    command = [program, "--no-cache", "-r", repository, "-p", password_file, *arguments]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE)
    # 3: what is a gap in the snapshot is told.
    assert done.returncode in (0, 3), f"{arguments}: {done.stderr.decode()}"
    return done.stdout


def export(target, *options):
    summary = json.loads(run("export", snapshot, *options, *target, "--json").splitlines()[-1])
    assert summary["files"] > 0 and summary["damaged"] == 0, summary
    return summary


def files(folder):
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def check_mail(data):
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert message.keys(), "no header"
    # Messages are as Exchange gave them, those that break the rules too.
    if message.defects:
        read["  messages with defects of their own"] += 1
        return
    message.get_body(("plain", "html"))
    read["  attachments of messages"] += len(list(message.iter_attachments()))


def check_calendar(data):
    for line in data.split(b"\r\n"):
        assert len(line) <= 75, line
    whole = icalendar.Calendar.from_ical(data)
    zones = {str(zone["TZID"]) for zone in whole.walk("VTIMEZONE")}
    parts = whole.walk("VEVENT") + whole.walk("VTODO")
    assert parts, "neither event nor task"
    assert len({str(part["UID"]) for part in parts}) == 1, "more than one item"
    for part in parts:
        assert not part.errors and "DTSTAMP" in part, part.errors
        read[f"  {part.name}"] += 1
        for name in ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID"):
            zone = part.get(name) and part[name].params.get("TZID")
            assert zone is None or zone in zones, f"{name}: {zone} is not in {zones}"
        if part.name == "VEVENT":
            assert "DTEND" not in part or part["DTEND"].dt > part["DTSTART"].dt, part
        if "RECURRENCE-ID" in part:
            read["  exceptions"] += 1
        read["  alarms"] += len(part.walk("VALARM"))
        read["  attachments"] += len([value for name, value in part.property_items(recursive=False) if name == "ATTACH"])
        if "RRULE" in part:
            start = part["DTSTART"].dt
            begin = start if isinstance(start, datetime.datetime) else datetime.datetime(*start.timetuple()[:3])
            first = next(iter(rrulestr(part["RRULE"].to_ical().decode(), dtstart=begin)), None)
            assert first is not None and first >= begin, (first, begin)
            read["  series"] += 1
    vobject.readOne(data.decode())


def check_contact(data):
    for line in data.split(b"\r\n"):
        assert len(line) <= 75, line
    card = vobject.readOne(data.decode())
    assert card.name == "VCARD" and card.version.value == "4.0" and card.fn.value.strip(), card
    read["  photos"] += "photo" in card.contents


def check_table(data):
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    assert rows and rows[0][0] == "ID" and {len(row) for row in rows} == {len(rows[0])}, rows[:2]
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    read["  rows"] += len(rows) - 1


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.policy = Counter(), None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] += 1
        assert tag not in ("script", "iframe", "object", "embed", "link", "form", "base"), tag
        assert not any(name.startswith("on") for name in attrs), attrs
        if tag == "img":
            assert (attrs.get("src") or "data:image/").startswith("data:image/"), attrs
            read["  pictures"] += "src" in attrs
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]


def check_page(data):
    page = Page()
    page.feed(data.decode())
    assert page.tags["html"] == 1 and page.policy and "default-src 'none'" in page.policy
    assert data.rstrip().endswith(b"</html>")
    read["  messages on pages"] += page.tags["article"]


# By the folder that a part of a tenant is in, and the ending; elsewhere are files of users, which may have any name.
CHECKS = {
    ("Mail", ".eml"): check_mail,
    ("Calendar", ".ics"): check_calendar,
    ("Tasks", ".ics"): check_calendar,
    ("Contacts", ".vcf"): check_contact,
    ("Lists", ".csv"): check_table,
    ("Pages", ".html"): check_page,
    ("Chats", ".html"): check_page,
    ("Channels", ".html"): check_page,
    ("Conversations", ".html"): check_page,
}


def check_folder(folder):
    export([str(folder)])
    for name, path in files(folder).items():
        place = Path(name).parts[2] if len(Path(name).parts) > 3 else ""
        check = CHECKS.get((place, path.suffix))
        if check and ".parts/" not in name or path.suffix == ".json" and place in dict(CHECKS):
            try:
                (check or json.loads)(path.read_bytes())
            except Exception:
                print(f"In {name}:\n{path.read_text(errors='replace')[:4000]}", file=sys.stderr)
                raise
            read[f"{place} {path.suffix}"] += 1
    for place, ending in CHECKS:
        assert read[f"{place} {ending}"], f"no {ending} of {place} in the export"
    for what in ("series", "exceptions", "alarms", "attachments", "photos", "rows", "messages on pages", "pictures"):
        assert read[f"  {what}"], f"no {what} in the export"


def check_archives(folder, work):
    """An archive holds what the folder does, with the same times."""
    there = files(folder)

    def same_time(name, archived):
        """An item without a time has that of the export on a disk, and none in an archive; ZIP rounds to two seconds."""
        assert not archived or abs(archived - there[name].stat().st_mtime) <= 2, (name, archived)
        read[f"  times of {option}"] += archived != 0

    for option, name in (("--zip", work / "all.zip"), ("--tar", work / "all.tar")):
        export([option, str(name)])
        with open(work / "piped", "wb") as piped:
            run("export", snapshot, option, "-", stdout=piped)
        for path in (name, work / "piped"):
            found = {}
            if option == "--zip":
                with zipfile.ZipFile(path) as archive:
                    assert archive.testzip() is None
                    for info in archive.infolist():
                        if not info.is_dir():
                            found[info.filename] = archive.read(info)
                            same_time(info.filename, calendar.timegm(info.date_time) * (info.date_time[0] > 1980))
            else:
                with tarfile.open(path) as archive:
                    for info in archive:
                        if info.isfile():
                            found[info.name] = archive.extractfile(info).read()
                            same_time(info.name, info.mtime)
            assert found.keys() == there.keys(), found.keys() ^ there.keys()
            for inside, data in found.items():
                assert data == there[inside].read_bytes(), inside
            read[option] += len(found)


def check_mailboxes(folder, work):
    """mbox and Maildir hold the messages of the .eml files."""
    def told(message):
        # A folded header keeps its line ends, which are a matter of the mailbox.
        return tuple(str(message.get(name)).replace("\r", "") for name in ("Message-ID", "Subject"))

    wanted = {}
    for name, path in files(folder).items():
        if path.suffix == ".eml" and "Mail" in Path(name).parts and ".parts" not in name:
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.compat32)
            wanted.setdefault(str(Path(name).parent), []).append(str(told(message)))
    export([str(work / "mbox")], "--format", "mbox")
    export([str(work / "maildir")], "--format", "maildir")
    export(["--zip", str(work / "maildir.zip")], "--format", "maildir")
    with zipfile.ZipFile(work / "maildir.zip") as archive:
        assert not any(":" in name for name in archive.namelist()), "no name on Windows"
        archive.extractall(work / "unzipped")
    for place, messages in wanted.items():
        [box] = (work / "mbox" / place).glob("*.mbox")
        found = [str(told(message)) for message in mailbox.mbox(box, create=False)]
        assert sorted(found) == sorted(messages), f"{place}: {set(found) ^ set(messages)}"
        maildir = mailbox.Maildir(work / "maildir" / place, create=False)
        found = [str(told(message)) for message in maildir]
        assert sorted(found) == sorted(messages), f"{place}: {set(found) ^ set(messages)}"
        unzipped = mailbox.Maildir(work / "unzipped" / place, create=False)
        unzipped.colon = ";"
        marked = [sorted((str(told(message)), message.get_flags()) for message in one) for one in (maildir, unzipped)]
        assert marked[0] == marked[1], place
        read["  flagged as read"] += sum("S" in message.get_flags() for message in maildir)
        read["messages of mbox and Maildir"] += len(found)


with tempfile.TemporaryDirectory() as name:
    work = Path(name)
    check_folder(work / "folder")
    check_mailboxes(work / "folder", work)
    check_archives(work / "folder", work)
for what, count in read.items():
    print(f"{count:8} {what}")
