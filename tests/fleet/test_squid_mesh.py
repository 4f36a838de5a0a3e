"""The caches of a fleet: they answer each other's misses, and neither a dead one nor a loop costs anything."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.panda.provision.plugins.modules import node_report

from .conftest import NODES, SERVICE, Fleet

SCHEDCONFIG = "/var/cache/pandaserver/schedconfig"
PORT, ICP_PORT = 25085, 3130


class File:
    """A file of a name that nobody has asked for yet, on one node or none."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.name = f"mesh-{uuid.uuid4().hex}.json"
        self.path = f"/cache/schedconfig/{self.name}"

    def put(self, node: str) -> None:
        self.fleet.command(node, f"echo 'from {node}' >{SCHEDCONFIG}/{self.name}")

    def ask(self, node: str) -> tuple[int, str]:
        """What a node's cache answers; of a refusal or an error only the status."""
        status, body = self.fleet.get(node, self.path, PORT)
        return status, body.strip() if status == 200 else ""

    def asked(self, node: str) -> int:
        """How often a node's cache was asked for it, by clients and by other caches."""
        counted = self.fleet.host(node).run_expect([0, 1], f"grep -c {self.name} /var/log/squid/access.log")
        return int(counted.stdout)


@pytest.fixture
def file(fleet: Fleet) -> Iterator[File]:
    made = File(fleet)
    yield made
    for node in NODES:
        fleet.command(node, f"rm -f {SCHEDCONFIG}/{made.name}")


def test_what_one_node_holds_another_gets_from_it(fleet: Fleet, file: File, eventually: Callable[..., None]) -> None:
    first, second, _ = NODES
    file.put(second)
    assert file.ask(second) == (200, f"from {second}")
    # The first node's own httpd has no such file. A question between caches may be lost, and then it says so.
    eventually(lambda: file.ask(first), (200, f"from {second}"), within=5)
    assert "SIBLING_HIT" in fleet.command(first, f"grep {file.name} /var/log/squid/access.log")


def test_a_question_of_another_cache_is_not_asked_on(file: File) -> None:
    assert file.ask(NODES[0]) == (404, "")
    assert [file.asked(node) for node in NODES] == [1, 0, 0]


def test_a_sibling_gets_nothing_fetched_for_it(fleet: Fleet, file: File) -> None:
    first, second, _ = NODES
    file.put(first)
    asking = "curl --silent --output /dev/null --write-out '%{http_code}'"
    assert fleet.command(second, f"{asking} http://{fleet.addresses[first]}:{PORT}{file.path}") == "403"
    assert file.ask(first) == (200, f"from {first}")


def test_a_stranger_gets_no_answer_about_what_is_cached(fleet: Fleet, file: File) -> None:
    first = NODES[0]
    file.put(first)
    assert file.ask(first) == (200, f"from {first}")
    assert fleet.command(first, f"ss --no-header --listening --udp 'sport = :{ICP_PORT}'")
    assert node_report.icp(fleet.addresses[first], ICP_PORT, f"http://{SERVICE}{file.path}") == "silent"


def test_dead_siblings_cost_no_error_and_less_than_a_second(fleet: Fleet, file: File) -> None:
    first, *others = NODES
    file.put(first)
    for node in others:
        fleet.command(node, "systemctl stop squid")
    try:
        began = time.monotonic()
        assert file.ask(first) == (200, f"from {first}")
        assert time.monotonic() - began < 1
    finally:
        for node in others:
            fleet.command(node, "systemctl start squid")
