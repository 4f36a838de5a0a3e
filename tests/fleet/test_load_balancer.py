"""The balancer: who gets requests, and what a node that leaves, dies or comes costs its clients."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import demo_ca

from .conftest import BALANCER, NODES, SERVICE, Fleet
from .load import Secure

SCHEDCONFIG = "/var/cache/pandaserver/schedconfig"


def sessions(fleet: Fleet, name: str) -> int:
    """How many connections a node has been given so far, by all backends."""
    return sum(int(nodes[name]["stot"]) for nodes in fleet.servers().values())


def ready(fleet: Fleet, name: str) -> set[bool]:
    """Whether a node gets requests, of every backend."""
    return {nodes[name]["status"].startswith("UP") for nodes in fleet.servers().values()}


def ask(fleet: Fleet, times: int) -> set[tuple[int, str]]:
    """What the balancer answers, to so many requests."""
    return {fleet.get(BALANCER, "/server/panda/isAlive") for _ in range(times)}


@contextmanager
def asking(fleet: Fleet, port: int, path: str) -> Iterator[list[str]]:
    """A client that reads through the balancer all the time, and what failed of that."""
    failed: list[str] = []
    done = threading.Event()

    def client() -> None:
        while not done.wait(0.05):
            connection = http.client.HTTPConnection(fleet.addresses[BALANCER], port, timeout=30)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status != 200:
                    failed.append(f"{answer.status} {answer.read(80)!r}")
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
            finally:
                connection.close()

    thread = threading.Thread(target=client)
    thread.start()
    try:
        yield failed
    finally:
        done.set()
        thread.join()


@pytest.fixture
def cached(fleet: Fleet) -> Iterator[str]:
    """The path of a file that every node has."""
    for name in NODES:
        fleet.command(name, f"echo one >{SCHEDCONFIG}/balanced.json")
    yield "/cache/schedconfig/balanced.json"
    for name in NODES:
        fleet.command(name, f"rm {SCHEDCONFIG}/balanced.json")


def test_every_node_gets_requests_on_every_port(fleet: Fleet, cached: str) -> None:
    before = {name: sessions(fleet, name) for name in NODES}
    with fleet.load() as load:
        pass
    assert load.failed == []
    assert fleet.get(BALANCER, cached, 25085) == (200, "one\n")
    assert {name for name in NODES if sessions(fleet, name) > before[name]} == set(NODES)


def test_a_node_knows_a_client_of_the_balancer_by_its_certificate(fleet: Fleet, tmp_path: Path) -> None:
    made = demo_ca.host_certificate(fleet.authority.parent, "alice", ["alice"])
    alice = tmp_path / "alice.pem"
    alice.touch(mode=0o600)
    alice.write_text(made.certificate + made.key)
    context = ssl.create_default_context(cafile=fleet.authority)
    context.load_cert_chain(alice)
    connection = Secure(fleet.addresses[BALANCER], 25443, SERVICE, context)
    connection.request("GET", "/api/v1/system/get_user_attributes", headers={"Accept": "application/json"})
    answer = json.load(connection.getresponse())
    connection.close()
    assert answer["data"]["dn"] == "/CN=alice", answer


def test_metrics_and_status_are_for_the_host_itself_only(fleet: Fleet) -> None:
    assert "haproxy_server_status" in fleet.command(BALANCER, "curl -s http://127.0.0.1:8404/metrics")
    assert fleet.get(BALANCER, "/metrics", 8404)[0] == 0


def test_a_drained_node_gets_no_request_and_a_restart_of_the_balancer_changes_nothing(
    fleet: Fleet, eventually: Callable[..., None]
) -> None:
    name = NODES[2]
    fleet.play("playbooks/drain.yml", "-l", name)
    try:
        assert ready(fleet, name) == {False}
        before = sessions(fleet, name)
        assert ask(fleet, 30) == {(200, "alive=yes")}
        assert sessions(fleet, name) == before

        # The new process knows nothing: it takes the node for ready until it has asked.
        fleet.command(BALANCER, "systemctl restart haproxy")
        eventually(lambda: ready(fleet, name), {False}, within=3)
        before = sessions(fleet, name)
        assert ask(fleet, 30) == {(200, "alive=yes")}
        assert sessions(fleet, name) == before
    finally:
        fleet.play("playbooks/undrain.yml", "-l", name)
    assert ready(fleet, name) == {True}


def test_a_node_that_is_switched_off_costs_no_request_that_can_be_repeated(
    fleet: Fleet, cached: str, eventually: Callable[..., None]
) -> None:
    name = NODES[2]
    with (
        asking(fleet, 25080, "/server/panda/isAlive") as failed,
        asking(fleet, 25085, cached) as failed_in_cache,
        fleet.without(name),
    ):
        eventually(lambda: ready(fleet, name), {False}, within=30)
        time.sleep(1)
    assert (failed, failed_in_cache) == ([], [])
    eventually(lambda: ready(fleet, name), {True}, within=60)


def test_a_reload_of_the_balancer_cuts_no_connection(fleet: Fleet, say: Callable[[str], None]) -> None:
    process = fleet.command(BALANCER, "systemctl show --value --property=MainPID haproxy")
    with fleet.load() as load:
        for _ in range(3):
            fleet.command(BALANCER, "systemctl reload haproxy")
            time.sleep(1)
    say(f"three reloads of the balancer: {load}")
    assert load.failed == []
    assert fleet.command(BALANCER, "systemctl show --value --property=MainPID haproxy") == process


def test_clients_have_the_balancer_back_at_once_after_its_restart(
    fleet: Fleet, eventually: Callable[..., None]
) -> None:
    fleet.command(BALANCER, "systemctl restart haproxy")
    eventually(lambda: ask(fleet, 5), {(200, "alive=yes")}, within=3)
