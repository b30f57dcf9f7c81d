"""Asks `serve webdav` by clients that nobody here wrote, and holds it against an export: URL FOLDER; the password on stdin."""

import os
import random
import sys
import tempfile

import webdav3.client
import webdav3.exceptions
import webdav4.client


def files_of(folder):
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def with_webdav4(url, password, wanted):
    server, top = url.split("/sets/")
    top = "sets/" + top
    client = webdav4.client.Client(server, auth=("anyone", password))
    assert client.isdir(top) and not client.exists(top + "/nothing")
    seen, open_folders = {}, [top]
    while open_folders:
        for entry in client.ls(open_folders.pop(), detail=True):
            if entry["type"] == "directory":
                open_folders.append(entry["name"])
            else:
                seen[entry["name"].removeprefix(top + "/")] = entry
    assert set(wanted) <= set(seen), sorted(set(wanted) - set(seen))
    assert len(seen) < len(wanted) + 20
    dice = random.Random(7)
    for path, contents in wanted.items():
        assert seen[path]["content_length"] == len(contents), path
        assert seen[path]["modified"] is not None, path
        if "%" in path:  # webdav4 sends it as it stands, which asks for another name
            continue
        with client.open(f"{top}/{path}", mode="rb") as file:
            assert file.read() == contents, path
    for path in dice.sample(sorted(p for p in wanted if len(wanted[p]) > 100 and "%" not in p), 20):
        with client.open(f"{top}/{path}", mode="rb", chunk_size=64) as file:
            start = dice.randrange(len(wanted[path]) - 50)
            file.seek(start)
            assert file.read(50) == wanted[path][start : start + 50], path
    with tempfile.NamedTemporaryFile() as new:
        for change in (
            lambda: client.upload_file(new.name, "new"),
            lambda: client.mkdir("new"),
            lambda: client.remove(f"{top}/{next(iter(wanted))}"),
            lambda: client.move(f"{top}/{next(iter(wanted))}", "new"),
        ):
            try:
                change()
            except Exception:  # a client has its own words for each refusal
                pass
            else:
                raise AssertionError("something was changed")
    assert not client.exists("new") and client.exists(f"{top}/{next(iter(wanted))}")
    return len(seen)


def with_webdavclient3(url, password, wanted):
    client = webdav3.client.Client(
        {"webdav_hostname": url, "webdav_login": "anyone", "webdav_password": password, "webdav_disable_check": True}
    )
    folders = {os.path.dirname(path) for path in wanted}
    for folder in folders:
        listed = {name.rstrip("/") for name in client.list(folder or "/")}
        for path in wanted:
            if os.path.dirname(path) == folder:
                assert os.path.basename(path) in listed, path
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(wanted)[::5]:
            target = os.path.join(folder, "file")
            client.download_sync(remote_path=path, local_path=target)
            with open(target, "rb") as file:
                assert file.read() == wanted[path], path
    try:
        client.mkdir("new")
    except webdav3.exceptions.WebDavException:
        pass
    else:
        raise AssertionError("a folder was made")
    wrong = webdav4.client.Client(url, auth=("anyone", password + "x"))
    try:
        wrong.ls("/")
    except Exception:
        pass
    else:
        raise AssertionError("a wrong password opens")


def main():
    url, folder = sys.argv[1:]
    password = sys.stdin.readline().strip()
    wanted = files_of(folder)
    count = with_webdav4(url, password, wanted)
    with_webdavclient3(url, password, wanted)
    print(f"{len(wanted)} files are the same, {count} were listed")


main()
