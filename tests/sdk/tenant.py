"""The simulated tenant in a process of its own, and a client of the Graph SDK that is signed in to it."""

import json
import pathlib
import subprocess
import time
import tomllib
import traceback
import urllib.request
from urllib.parse import urlencode, urlsplit

import httpx
from kiota_abstractions.authentication import AccessTokenProvider, AllowedHostsValidator, BaseBearerTokenAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.graph_request_adapter import options as graph_options
from msgraph_core import GraphClientFactory

from kiota_abstractions.method import Method
from kiota_abstractions.request_information import RequestInformation
from msgraph.generated.models.o_data_errors.o_data_error import ODataError

import agree


class Tenant:
    """`tenantvault sim`, started with these arguments, until the end of a `with` block."""

    def __init__(self, program, folder, *arguments):
        self.program, self.folder, self.arguments = pathlib.Path(program).absolute(), pathlib.Path(folder), arguments

    def __enter__(self):
        path = self.folder / "sim.toml"
        command = [self.program, "sim", "--port", "0", "--config-out", path, *self.arguments]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (path.exists() and "[sets" in path.read_text()):
            if self.process.poll() is not None:
                raise SystemExit(f"The simulated tenant ended with {self.process.returncode}")
            time.sleep(0.05)
        tenant = tomllib.loads(path.read_text())["tenants"]["sim"]
        self.id, self.app, self.login, self.graph = (
            tenant[key] for key in ("tenant_id", "client_id", "login_url", "graph_url")
        )
        self.secret = (self.folder / tenant["client_secret_file"]).read_text().strip()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def control(self, what, body=None, method="POST"):
        """Asks at the door that is not part of Graph: `advance?days=1`, `faults`, `stats`."""
        data = json.dumps(body).encode() if body is not None else b"" if method == "POST" else None
        request = urllib.request.Request(f"{self.graph}/sim/{what}", data=data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


class Tokens(AccessTokenProvider):
    """Signs in as an app, by the client credentials."""

    def __init__(self, tenant):
        self.tenant, self.token, self.asked = tenant, None, 0
        self.hosts = AllowedHostsValidator(["localhost", "127.0.0.1"])

    async def get_authorization_token(self, uri, additional_authentication_context={}):
        if not self.hosts.is_url_host_valid(uri):
            return ""
        if self.token is None:
            form = {
                "grant_type": "client_credentials",
                "client_id": self.tenant.app,
                "client_secret": self.tenant.secret,
                "scope": "https://graph.microsoft.com/.default",
            }
            url = f"{self.tenant.login}/{self.tenant.id}/oauth2/v2.0/token"
            with urllib.request.urlopen(url, urlencode(form).encode()) as answer:
                self.token = json.load(answer)["access_token"]
            self.asked += 1
        return self.token

    def get_allowed_hosts_validator(self):
        return self.hosts


class Wire(httpx.AsyncHTTPTransport):
    """Remembers the last answer as it came."""

    last = None

    async def handle_async_request(self, request):
        response = await super().handle_async_request(request)
        await response.aread()
        self.last = response
        return response


class Client:
    """The SDK's client, and a comparison of all that it understood with what was sent."""

    def __init__(self, tenant):
        self.complaints, self.compared, self.wire = [], {}, Wire()
        self.tokens = Tokens(tenant)
        http = GraphClientFactory.create_with_default_middleware(
            client=httpx.AsyncClient(transport=self.wire, timeout=60), options=graph_options
        )
        self.adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(self.tokens), http)
        # Another host than that of the download addresses: the SDK must not send the token there, and does so by the host's name.
        self.adapter.base_url = f"http://localhost:{urlsplit(tenant.graph).port}/v1.0"
        self.graph = GraphServiceClient(request_adapter=self.adapter)

    def complain(self, text):
        self.complaints.append(text)

    def expect(self, holds, text):
        if not holds:
            self.complain(text)

    async def part(self, steps):
        """A part of the walk; what ends it is a complaint, and the walk goes on elsewhere."""
        try:
            await steps
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[1]
            url = self.wire.last.request.url.path if self.wire.last else ""
            said = getattr(getattr(error, "error", None), "message", None) or error
            self.complain(f"{url}: {type(error).__name__} in {place.name}, line {place.lineno}: {said}")

    async def get(self, builder, headers=None, **query):
        """Asks, and compares the object with the answer."""
        got = await builder.get(configuration(builder, headers, query))
        self.compare(got)
        return got

    def compare(self, got):
        raw, url = self.wire.last.json(), self.wire.last.request.url
        where = url.path.removeprefix("/v1.0")
        self.complaints += agree.disagreements(got, raw, where)
        rows = getattr(got, "value", None)
        for one in rows if isinstance(rows, list) else [got]:
            name = type(one).__name__
            self.compared[name] = self.compared.get(name, 0) + 1

    async def pages(self, builder, headers=None, **query):
        """The rows of all pages."""
        return (await self.round(builder, headers, **query))[0]

    async def round(self, builder, headers=None, **query):
        """The rows of all pages, the last page's delta link, and how many pages there were."""
        page, rows, count = await self.get(builder, headers, **query), [], 1
        rows += page.value
        while page.odata_next_link:
            page = await self.get(builder.with_url(page.odata_next_link), headers)
            rows += page.value
            count += 1
        return rows, getattr(page, "odata_delta_link", None), count

    async def delta(self, builder, least, headers=None, **query):
        """A whole round of a delta and the next one, which has no news."""
        rows, link, _ = await self.round(builder, headers, **query)
        where = self.wire.last.request.url.path
        self.expect(link, f"{where}: a delta without its link")
        self.expect(len(rows) >= least, f"{where}: {len(rows)} rows, at least {least} were expected")
        news, again, _ = await self.round(builder.with_url(link), headers)
        self.expect(again and not news, f"{where}: news where nothing happened")
        return rows, link

    async def bytes(self, builder):
        """Contents."""
        got = await builder.get() or b""  # no bytes are nothing to the SDK
        if not isinstance(got, bytes) or got != self.wire.last.content:
            self.complain(f"{self.wire.last.request.url.path}: no bytes but {type(got).__name__}")
            return b""
        return got

    async def bytes_of(self, address):
        """Contents at an address for which the SDK has no builder."""
        request = RequestInformation(Method.GET)
        request.url = address
        return await self.adapter.send_primitive_async(request, "bytes", {"XXX": ODataError}) or b""


def configuration(builder, headers, query):
    """The SDK's way to say `$select=…` and headers."""
    name = type(builder).__name__
    parameters = getattr(type(builder), f"{name}GetQueryParameters", None)
    asked = RequestConfiguration(query_parameters=parameters(**query) if query else None)
    for key, value in (headers or {}).items():
        asked.headers.add(key, value)
    return asked
