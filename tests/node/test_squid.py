"""The cache in front of httpd, as clients, siblings and strangers meet it."""

from __future__ import annotations

import base64
import http.client
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ..unit.conftest import ROOT, Renderer
from ..unit.test_squid_template import VARIANTS

SCHEDCONFIG = "/var/cache/pandaserver/schedconfig"


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
        self.name: str = host.backend.host
        self.address: str = settings.get("ansible_host", self.name)
        self.port: int = settings["squid_port"]
        self.icp_port: int = settings["squid_icp_port"]
        self.site: str = settings["squid_site"]
        group = settings["groups"][settings["squid_peer_group"]]
        self.siblings = [name for name in group if name != self.name]

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
        path = f"{SCHEDCONFIG}/{name}"
        self.host.run_expect([0], "echo -n %s > %s && chmod 644 %s", text, path, path)
        return f"/cache/schedconfig/{name}"

    def remove(self, name: str) -> None:
        """Take a schedconfig file away."""
        self.host.run_expect([0], "rm -f %s", f"{SCHEDCONFIG}/{name}")


@pytest.fixture
def cache(host: Any, settings: dict[str, Any]) -> Cache:
    return Cache(host, settings)


@pytest.fixture
def sibling(host: Any, settings: dict[str, Any], cache: Cache) -> Cache:
    """The squid of another cache."""
    if not cache.siblings:
        pytest.skip("the inventory has one node only")
    inventory = host.backend.ansible_inventory
    other = host.get_host(f"ansible://{cache.siblings[0]}", ansible_inventory=inventory)
    address = other.ansible.get_variables().get("ansible_host", cache.siblings[0])
    return Cache(other, {**settings, "ansible_host": address})


@pytest.fixture
def name(cache: Cache) -> Iterator[str]:
    """A file name that nobody has asked for yet."""
    unique = f"test-{uuid.uuid4().hex}.json"
    yield unique
    cache.remove(unique)


def question(url: str) -> bytes:
    """An ICP query (RFC 2186): whether a cache holds an object."""
    asked = struct.pack("!I", 0) + url.encode() + b"\0"
    return struct.pack("!BBHIIII", 1, 2, 20 + len(asked), 1, 0, 0, 0) + asked


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
    listening = cache.host.socket(f"udp://0.0.0.0:{cache.icp_port}").is_listening
    listening = listening or cache.host.socket(f"udp://:::{cache.icp_port}").is_listening
    assert listening == bool(cache.siblings)


def test_a_stranger_gets_no_answer_about_what_is_cached(cache: Cache, name: str) -> None:
    path = cache.put(name, "one")
    cache.ask(path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(1)
        stranger.sendto(question(f"http://{cache.site}{path}"), (cache.address, cache.icp_port))
        with pytest.raises(OSError, match=r"timed out|refused"):
            stranger.recv(2048)


def test_what_a_sibling_holds_is_fetched_from_it(
    cache: Cache, sibling: Cache, name: str, eventually: Callable[..., None]
) -> None:
    path = sibling.put(name, "from the sibling")
    assert sibling.ask(path).status == 200
    try:
        # A question between caches may be lost, and then the node's own httpd says that it has no such file.
        eventually(lambda: cache.ask(path).body, "from the sibling", within=5)
    finally:
        sibling.remove(name)


def test_a_sibling_gets_nothing_fetched_for_it(cache: Cache, sibling: Cache, name: str) -> None:
    path = cache.put(name, "not held yet")
    asking = "import urllib.request, sys; urllib.request.urlopen(sys.argv[1], timeout=10)"
    answer = sibling.host.run("python3 -c %s http://%s:%s%s", asking, cache.address, str(cache.port), path)
    assert "HTTP Error 403" in answer.stderr


def test_a_dead_sibling_costs_less_than_a_second(cache: Cache, sibling: Cache, name: str) -> None:
    path = cache.put(name, "one")
    sibling.host.run_expect([0], "systemctl stop squid")
    try:
        started = time.monotonic()
        answer = cache.ask(path)
        assert (answer.status, answer.body) == (200, "one")
        assert time.monotonic() - started < 1
    finally:
        sibling.host.run_expect([0], "systemctl start squid")


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
