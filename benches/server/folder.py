#!/usr/bin/env python3
"""How long the server's restore browser takes to show the fullest folder of a repository that lies on this machine.

    cargo build --release --bin tenantvault --example tv-tenant
    TV_REPO=/tmp/mailbox target/release/examples/tv-tenant idle 200000 1 1
    benches/server/folder.py /tmp/mailbox /tmp/mailbox.passphrase users/alice@contoso.com/Mail/Inbox [--bin target/release]

The repository is taken over by a server that starts on an empty folder. Prints the time of the first look after unlocking, of
the looks after it, of the hundred pages that follow, of a first look after unlocking anew, and the server's memory at its peak.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
import urllib.parse

from endpoint import PASSWORD, Server


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("passphrase", help="a file with it")
    parser.add_argument("folder", help="the folder's path in the snapshot")
    parser.add_argument("--snapshot", default="latest")
    parser.add_argument("--bin", default="target/release")
    arguments = parser.parse_args()
    with open(arguments.passphrase, encoding="utf-8") as file:
        key = file.read().strip()
    place = tempfile.mkdtemp()
    server = Server(os.path.join(arguments.bin, "tenantvault"), place)
    try:
        account = "/accounts/" + server.ask("POST", "/accounts", {"name": "bench", "limits": {}})["id"]
        destination = {"name": "here", "url": os.path.abspath(arguments.repository)}
        wanted = {"name": "bench", "destination": destination, "key": key}
        adopted = server.ask("POST", account + "/adoptions", wanted)
        repository = adopted["repository"]["id"]
        of_set = f"sets/{adopted['sets'][0]['name']}/{arguments.snapshot}/{arguments.folder}"
        server.ask("POST", f"{account}/repositories/{repository}/unlock", {"key": key})
        pages = f"{account}/repositories/{repository}"

        def look(query):
            began = time.monotonic()
            answer = server.ask("GET", f"{pages}/contents?{urllib.parse.urlencode(query)}")
            return (time.monotonic() - began) * 1000, answer

        first, answer = look({"path": of_set})
        again = statistics.median(look({"path": of_set})[0] for _ in range(20))
        print(json.dumps({"first_ms": round(first, 1), "again_ms": round(again, 1), "shown": len(answer["items"])}))
        deep = []
        while answer.get("next") and len(deep) < 100:
            took, answer = look({"path": of_set, "from": answer["next"]})
            deep.append(took)
        if deep:
            print(json.dumps({"next_pages": len(deep), "median_ms": round(statistics.median(deep), 1), "worst_ms": round(max(deep), 1)}))
        server.ask("DELETE", f"{account}/repositories/{repository}/unlock")
        server.ask("POST", f"{account}/repositories/{repository}/unlock", {"key": key})
        print(json.dumps({"first_after_unlocking_anew_ms": round(look({"path": of_set})[0], 1)}))
        with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        print(json.dumps({"peak_mib": round(peak / 1024, 1)}))
    finally:
        server.stop()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
