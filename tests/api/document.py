"""Holds the API of the backup server against its own description: `document.py PROGRAM SCHEMATHESIS`.

Starts `PROGRAM server --demo`, and lets schemathesis ask everything that the description allows and much that it does not: as a
client, an owner and an administrator. It fails on an answer of 5xx, and on a status, a content type or a body that the
description does not have.
"""

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request


def status_of(server):
    for line in server.stdout:
        facts = json.loads(line)
        if facts.get("message_type") == "status":
            return facts
    raise SystemExit("the server ended before it said where it is")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def token_of(base, login, password):
    """Signs in as a browser does, and makes a token."""
    form = f"login={login}&password={password.replace(' ', '+')}&code=".encode()
    head = {"Sec-Fetch-Site": "same-origin"}
    opener = urllib.request.build_opener(NoRedirect)
    try:
        answer = opener.open(urllib.request.Request(f"{base}/sign-in", form, head))
    except urllib.error.HTTPError as redirect:
        answer = redirect
    cookie = answer.headers["Set-Cookie"].split(";")[0]
    head |= {"Cookie": cookie, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{base}/api/v1/me/tokens", b'{"label": "test"}', head)
    with opener.open(request) as answer:
        return json.load(answer)["token"]


def api(base, path, token=None, body=None):
    """Asks the API for what must work."""
    head = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1{path}", data, head)) as answer:
        return json.load(answer)


def client_of(base, token):
    """Enrolls a client in the account of a token; gives the client's own token."""
    account = api(base, "/accounts", token)["items"][0]["id"]
    made = api(base, f"/accounts/{account}/clients", token, {"name": "schemathesis"})
    return api(base, "/agent/enrolment", None, {"code": made["enrolment"]["code"], "version": "0"})["token"]


def ask(schemathesis, facts, token, more, only=()):
    """Lets schemathesis ask with a token; gives its exit code."""
    run = [
        schemathesis, "run", f"{facts['url']}/api/v1/openapi.json", "--header", f"Authorization: Bearer {token}",
        "--max-examples", "20", "--request-timeout", "60", "--seed", "1",
        # It ends when its job does; and who guesses passwords must wait, also to sign in.
        "--exclude-path-regex", "|".join(["events$", "me/password$", "me/factor", *more]), *only,
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]
    # What it remembers of its failures is of no use in the checkout.
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(run, check=False, cwd=folder).returncode


def main(program, schemathesis):
    command = [program, "server", "--demo", "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            facts = status_of(server)
            # An administrator may name folders of this machine: repositories are made by an owner, who may not.
            owner, admin = (token_of(facts["url"], login, facts["password"]) for login in ("owner@contoso.com", "admin"))
            client = client_of(facts["url"], owner)
            return max(
                # What programs on other machines ask, as one of them.
                ask(schemathesis, facts, client, ["enrolment$"], ["--include-path-regex", "/agent"]),
                ask(schemathesis, facts, owner, []),
                ask(schemathesis, facts, admin, ["repositories"]),
            )
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
