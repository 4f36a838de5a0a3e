"""A database on another host goes away and comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest


def container_at(address: str) -> Any:
    """The test bed's container that has this address; None where the host is a real one."""
    try:
        containers = docker.from_env().containers.list(all=True)
    except docker.errors.DockerException:
        return None
    for container in containers:
        for network in container.attrs["NetworkSettings"]["Networks"].values():
            if address in (network["IPAddress"], (network["IPAMConfig"] or {}).get("IPv4Address")):
                return container
    return None


@pytest.fixture
def database(settings: dict[str, Any], outside: Any, eventually: Callable[..., None]) -> Iterator[Any]:
    """The container of the node's database; it runs again afterwards."""
    if settings["panda_server_backend"] == "sqlite":
        pytest.skip("the database of this node is a file on it")
    container = container_at(settings["panda_server_dbhost"])
    if container is None:
        pytest.skip("the database of this node is not a container that can be stopped here")
    yield container
    container.start()
    eventually(lambda: outside.status("/node/ready"), 200, within=60)


def test_a_running_node_lives_through_an_outage(outside: Any, database: Any, eventually: Callable[..., None]) -> None:
    assert outside.status("/node/ready") == 200
    database.stop()
    began = time.monotonic()
    eventually(lambda: outside.status("/node/ready"), 503, within=10)
    assert time.monotonic() - began < 10
    asked = time.monotonic()
    answer = outside.http("/node/ready")
    assert time.monotonic() - asked < 5
    assert answer.status == 503
    assert "database" in answer.json["reasons"][0]
    assert outside.alive()
    database.start()
    eventually(lambda: outside.status("/node/ready"), 200, within=30)


def test_a_node_that_boots_without_its_database_starts_when_it_returns(
    host: Any, units: Any, outside: Any, database: Any, reboot: Callable[[], None], eventually: Callable[..., None]
) -> None:
    database.stop()
    reboot()
    eventually(lambda: int(units.show(units.parent, "NRestarts")) >= 2, True, within=60)
    assert units.states(units.parent) == {units.parent: "activating"}
    assert units.left_running() == {}

    def told() -> bool:
        status = host.run("systemctl status --no-pager --full panda.service").stdout
        return bool(re.search(r"Status: \"DB schema check: .+ unreachable", status))

    # Between two tries, that is; each takes some seconds.
    eventually(told, True, within=20)
    database.start()
    # No hand touches the node from here on.
    eventually(units.states, units.all("active"), within=60)
    eventually(outside.alive, True, within=20)
