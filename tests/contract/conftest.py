"""What the contract is checked against: any PanDA server, named on the command line, with credentials for it."""

from __future__ import annotations

import gzip
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("contract")
    group.addoption("--base-url", help="the server, as https://pandaserver.example:25443")
    group.addoption("--ca", help="file of the authorities that signed its certificate")
    group.addoption("--user-cert", help="file with certificate and key of a user")
    group.addoption("--pilot-cert", help="file with certificate and key of somebody with the production role")
    group.addoption("--token", help="a token of a user, instead of --user-cert")
    group.addoption("--vo", default="wlcg", help="the token's organisation")
    group.addoption("--site", default="TEST_SITE", help="a queue that no other pilot serves")
    group.addoption("--settle", type=float, default=300, help="seconds in which a job or task comes to its next state")


@dataclass
class Answer:
    """An answer, and its envelope if it has one."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Caller:
    """Calls the server as one client."""

    url: str
    context: ssl.SSLContext
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, http_method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Any request; a header `Content_Type` is Content-Type."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Accept": "application/json", **self.headers, **given}
        request = urllib.request.Request(f"{self.url}{path}", data=body, headers=given, method=http_method)
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=60) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode())

    def get(self, method: str, **arguments: object) -> Any:
        query = f"?{urlencode(arguments, doseq=True)}" if arguments else ""
        answer = self.send("GET", f"/api/v1/{method}{query}")
        assert answer.status == 200, answer.text
        return answer.json

    def post(self, method: str, compress: bool = False, **arguments: object) -> Any:
        body = json.dumps(arguments).encode()
        headers = {"Content_Type": "application/json"}
        if compress:
            body, headers = gzip.compress(body), {**headers, "Content_Encoding": "gzip"}
        answer = self.send("POST", f"/api/v1/{method}", body, **headers)
        assert answer.status == 200, answer.text
        return answer.json


def _caller(config: pytest.Config, certificate: str | None, headers: dict[str, str]) -> Caller:
    url = config.getoption("--base-url")
    if not url:
        raise pytest.UsageError("the contract tests need --base-url; see tests/contract/README.md")
    context = ssl.create_default_context(cafile=config.getoption("--ca"))
    if certificate:
        context.load_cert_chain(certificate)
    return Caller(url.rstrip("/"), context, headers)


@pytest.fixture(scope="session")
def nobody(request: pytest.FixtureRequest) -> Caller:
    return _caller(request.config, None, {})


@pytest.fixture(scope="session")
def user(request: pytest.FixtureRequest) -> Caller:
    options = request.config
    if token := options.getoption("--token"):
        return _caller(options, None, {"Authorization": f"Bearer {token}", "Origin": options.getoption("--vo")})
    if not options.getoption("--user-cert"):
        raise pytest.UsageError("the contract tests need --user-cert or --token")
    return _caller(options, options.getoption("--user-cert"), {})


@pytest.fixture(scope="session")
def pilot(request: pytest.FixtureRequest) -> Caller:
    if not request.config.getoption("--pilot-cert"):
        raise pytest.UsageError("the contract tests need --pilot-cert")
    return _caller(request.config, request.config.getoption("--pilot-cert"), {})


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--site"))


@pytest.fixture(scope="session")
def settle(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--settle"))
