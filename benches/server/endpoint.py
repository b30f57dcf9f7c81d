#!/usr/bin/env python3
"""The same backup into a local folder and into a server's storage endpoint, by turns.

    cargo build --release --bin tenantvault --example tv-bench
    benches/server/endpoint.py DATA [--bin target/release] [--rounds 3]

DATA is a folder of files (tv-bench backs it up by the product's own pipeline). Server, simulated tenant and tv-bench run on this
machine: what the endpoint costs is in the figures twice, at both ends. Prints a line a round, and the ratio of the medians.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse

PASSWORD = "three plain words"


class Server:
    """A server that runs, and how its API is asked."""

    def __init__(self, binary, folder):
        arguments = [binary, "server", "--dir", os.path.join(folder, "server"), "--listen", "127.0.0.1:0", "--json"]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            status = json.loads(line)
            if status["message_type"] == "status":
                break
        self.host = urllib.parse.urlsplit(status["url"]).netloc
        link = urllib.parse.urlsplit(status["first_link"]).path
        self.form(link, {"password": PASSWORD, "again": PASSWORD})
        signed_in = self.form("/sign-in", {"login": "admin", "password": PASSWORD, "code": ""})
        cookie = signed_in.getheader("set-cookie").split(";")[0]
        made = self.send("POST", "/api/v1/me/tokens", {"label": "bench"}, {"cookie": cookie, "sec-fetch-site": "same-origin"})
        self.token = json.loads(made)["token"]

    def request(self, method, path, body, headers):
        line = http.client.HTTPConnection(self.host)
        line.request(method, path, body, headers)
        return line.getresponse()

    def form(self, path, fields):
        headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
        return self.request("POST", path, urllib.parse.urlencode(fields), headers)

    def send(self, method, path, body, headers):
        text = json.dumps(body) if body is not None else None
        answer = self.request(method, path, text, {"content-type": "application/json", **headers})
        text = answer.read().decode()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return text

    def ask(self, method, path, body=None, token=None):
        text = self.send(method, "/api/v1" + path, body, {"authorization": "Bearer " + (token or self.token)})
        return json.loads(text) if text else None

    def stop(self):
        self.process.terminate()
        self.process.wait()


def set_up(server, number):
    """An account with a client that has a job in hand; gives address, key and token, as a thief of the client would have them."""
    account = "/accounts/" + server.ask("POST", "/accounts", {"name": f"bench {number}", "limits": {}})["id"]
    definition = {"tenant_id": "x", "client_id": "x", "sign_in": "secret"}
    tenant = server.ask("POST", account + "/tenants", {"name": "x", "definition": definition, "secret": "x"})["id"]
    wanted = {"name": "bench", "destination": {"name": "here", "url": "server:"}}
    made = server.ask("POST", account + "/repositories", wanted)
    repository, key = made["repository"]["id"], made["key"]
    proof = {"key": key, "last_four": key[-4:]}
    server.ask("POST", f"{account}/repositories/{repository}/confirmation", proof)
    added = server.ask("POST", account + "/clients", {"name": "bench"})
    enrolled = server.ask("POST", "/agent/enrolment", {"code": added["enrolment"]["code"]})
    wanted = {"name": "bench", "tenant": tenant, "repository": repository, "client": added["client"]["id"]}
    job = server.ask("POST", f"{account}/sets/{server.ask('POST', account + '/sets', wanted)['id']}/runs")["job"]
    handout = server.ask("POST", "/agent/jobs", {}, enrolled["token"])["handout"]
    assert handout["job"] == job
    url = f"webdav+http://{server.host}{handout['repository']['path']}?append_only=true"
    done = threading.Event()

    def give_word():
        while not done.wait(5):
            said = {"lease": handout["lease"], "progress": {}}
            server.ask("POST", f"/agent/jobs/{job}/progress", said, enrolled["token"])

    threading.Thread(target=give_word, daemon=True).start()
    return url, handout["repository"]["key"], enrolled["token"], done.set


def bench(tool, arguments, cache, extra=None):
    environment = {**os.environ, "TV_CACHE": cache, **(extra or {})}
    began = time.monotonic()
    subprocess.run([tool, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", help="where repositories are made; a temporary folder, if left out")
    arguments = parser.parse_args()
    tool = os.path.join(arguments.bin, "examples/tv-bench")
    folder = tempfile.mkdtemp(dir=arguments.work)
    server = Server(os.path.join(arguments.bin, "tenantvault"), folder)
    times = {"folder": [], "endpoint": []}
    try:
        for number in range(arguments.rounds):
            place, cache = os.path.join(folder, f"local-{number}"), os.path.join(folder, f"cache-{number}")
            bench(tool, ["init", place], cache)
            times["folder"].append(bench(tool, ["backup", place, arguments.data], cache))
            shutil.rmtree(place)
            url, key, token, done = set_up(server, number)
            extra = {"TV_KEY": key, "TV_TOKEN": token}
            times["endpoint"].append(bench(tool, ["backup", url, arguments.data], cache + "-served", extra))
            done()
            print(f"round {number + 1}: folder {times['folder'][-1]:.2f} s, endpoint {times['endpoint'][-1]:.2f} s", flush=True)
            # The server keeps what it has: its own copy goes with the folder at the end, the next round needs the room.
            for account in os.listdir(os.path.join(folder, "server/storage")):
                shutil.rmtree(os.path.join(folder, "server/storage", account))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    local, served = (statistics.median(times[name]) for name in ("folder", "endpoint"))
    print(f"medians: folder {local:.2f} s, endpoint {served:.2f} s; the endpoint has {100 * local / served:.0f} % of the folder's speed")


if __name__ == "__main__":
    main()
