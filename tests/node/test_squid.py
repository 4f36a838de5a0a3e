"""The cache in front of httpd, as its clients meet it; siblings are for tests/fleet."""

from __future__ import annotations

import base64
import http.client
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ..unit.conftest import ROOT, Renderer
from ..unit.test_squid_template import VARIANTS


@dataclass
class Answer:
    """What came back for a request."""

    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def from_cache(self) -> bool:
        """Whether the squid that was asked held the object. Squid 6 and later say so in Cache-Status."""
        told = (self.headers.get_all("X-Cache") or [""])[-1] + (self.headers.get_all("Cache-Status") or [""])[-1]
        return "HIT" in told or ";hit" in told


class Cache:
    """The squid of one node, from outside; and the files that it may fetch, from inside."""

    def __init__(self, host: Any, settings: dict[str, Any]) -> None:
        self.host = host
        self.address: str = settings.get("ansible_host", host.backend.host)
        self.port: int = settings["squid_port"]
        self.folder: str = settings["panda_server_schedconfig_cache_dir"]
        self.icp_port: int = settings["squid_icp_port"]

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Send a request line as it is, without any tidying of the path."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=10)
        try:
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode(errors="replace"))
        finally:
            connection.close()

    def put(self, name: str, text: str) -> str:
        """Place a schedconfig file and return the path of its URL."""
        path = f"{self.folder}/{name}"
        self.host.run_expect([0], "echo -n %s > %s && chmod 644 %s", text, path, path)
        return f"/cache/schedconfig/{name}"

    def remove(self, name: str) -> None:
        """Take a schedconfig file away."""
        self.host.run_expect([0], "rm -f %s", f"{self.folder}/{name}")


@pytest.fixture
def cache(host: Any, settings: dict[str, Any]) -> Cache:
    return Cache(host, settings)


@pytest.fixture
def name(cache: Cache) -> Iterator[str]:
    """A file name that nobody has asked for yet."""
    unique = f"test-{uuid.uuid4().hex}.json"
    yield unique
    cache.remove(unique)


def test_squid_runs_and_starts_at_boot(host: Any) -> None:
    assert host.service("squid").is_running
    assert host.service("squid").is_enabled


def judge(host: Any, template: str, variant: str, command: str) -> Any:
    """What a program of the node says of a template; FILE in the command is the file, FOLDER its folder."""
    family = "Debian" if host.system_info.distribution == "debian" else "RedHat"
    text = Renderer(ROOT)("squid", f"{template}.j2", os_family=family, **VARIANTS[variant])
    encoded = base64.b64encode(text.encode()).decode()
    place = "FOLDER=$(mktemp -d); mkdir $FOLDER/policies"
    place += f"; FILE=$FOLDER/policies/{template}; echo {encoded} | base64 -d > $FILE"
    return host.run(f"{place}; {command}; code=$?; rm -r $FOLDER; exit $code")


@pytest.mark.parametrize("variant", VARIANTS)
def test_squid_takes_every_variant_of_its_configuration(host: Any, variant: str) -> None:
    judged = judge(host, "squid.conf", variant, "squid -k parse -f $FILE")
    assert judged.rc == 0, judged.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_firewalld_takes_every_variant_of_the_policy(host: Any, variant: str) -> None:
    judged = judge(host, "firewalld-policy.xml", variant, "firewall-offline-cmd --system-config $FOLDER --check-config")
    assert judged.rc == 0, judged.stdout + judged.stderr


def test_the_configuration_is_valid_and_not_for_everybody(host: Any) -> None:
    file = host.file("/etc/squid/squid.conf")
    assert (file.user, file.mode) == ("root", 0o640)
    assert host.run("squid -k parse").rc == 0


def test_the_second_request_is_answered_from_the_cache(cache: Cache, name: str) -> None:
    path = cache.put(name, "one")
    first, second = cache.ask(path), cache.ask(path)
    assert (first.status, first.body, first.from_cache) == (200, "one", False)
    assert (second.status, second.body, second.from_cache) == (200, "one", True)


def test_what_is_cached_needs_no_httpd(cache: Cache, name: str) -> None:
    path = cache.put(name, "one")
    cache.ask(path)
    cache.remove(name)
    assert (cache.ask(path).status, cache.ask(path).body) == (200, "one")


def test_an_absent_file_is_not_remembered_as_absent(cache: Cache, name: str) -> None:
    assert cache.ask(f"/cache/schedconfig/{name}").status == 404
    assert cache.ask(cache.put(name, "there now")).body == "there now"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"])
def test_only_reading_is_allowed(cache: Cache, name: str, method: str) -> None:
    path = cache.put(name, "one")
    assert cache.ask(path, method).status == 403
    assert cache.ask(path).body == "one"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/auth/atlas_auth_config.json",
        "/server/panda/isAlive",
        "/api/v1/system/is_alive",
        "/node/ready",
        "/server-status",
        "/squid-internal-mgr/info",
        "/squid-internal-static/",
    ],
)
def test_what_may_not_be_cached_is_refused(cache: Cache, path: str) -> None:
    answer = cache.ask(path)
    assert answer.status == 403
    assert "ERR_ACCESS_DENIED" in answer.headers.get("X-Squid-Error", "")


@pytest.mark.parametrize(
    "path",
    [
        "/cache/../auth/",
        "/cache/..%2fauth/",
        "/cache/%2e%2e/auth/",
        "/cache/%252e%252e/auth/",
        "/cache/schedconfig/../../server/panda/isAlive",
        "/cache//../../auth/",
        "/cache/..\\auth/",
    ],
)
def test_a_path_does_not_climb_out_of_the_cacheable_ones(cache: Cache, path: str) -> None:
    assert cache.ask(path).status == 403


def test_no_tunnel_is_made(cache: Cache) -> None:
    assert cache.ask("127.0.0.1:22", "CONNECT").status >= 400


def test_another_site_is_not_fetched(cache: Cache) -> None:
    assert cache.ask("http://www.example.org/", Host="www.example.org").status == 403


def test_a_url_of_another_site_is_taken_for_this_one(cache: Cache, name: str) -> None:
    path = cache.put(name, "ours")
    assert cache.ask(f"http://www.example.org{path}", Host="www.example.org").body == "ours"


def test_a_foreign_host_header_poisons_nothing(cache: Cache, name: str) -> None:
    path = cache.put(name, "ours")
    assert cache.ask(path, Host="www.example.org").body == "ours"
    again = cache.ask(path)
    assert (again.body, again.from_cache) == ("ours", True)


def test_a_node_alone_has_no_port_open_for_other_caches(cache: Cache) -> None:
    for address in ("0.0.0.0", "::"):
        assert not cache.host.socket(f"udp://{address}:{cache.icp_port}").is_listening


def test_a_reload_keeps_the_process(cache: Cache, name: str, units: Any, eventually: Callable[..., None]) -> None:
    path = cache.put(name, "one")
    before = units.main_process("squid.service")
    units.control("reload", "squid.service")

    def answer() -> str:
        try:
            return cache.ask(path).body
        except OSError:  # the port is closed for a moment
            return ""

    eventually(answer, "one", within=10)
    assert units.main_process("squid.service") == before != 0


def test_a_restart_does_not_wait_for_idle_connections(cache: Cache) -> None:
    with socket.create_connection((cache.address, cache.port), timeout=10):
        started = time.monotonic()
        cache.host.run_expect([0], "systemctl restart squid")
        assert time.monotonic() - started < 15
