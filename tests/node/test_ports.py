"""Which ports can be reached from another host, and which cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

# Tried beside whatever listens on the node: ports that parts of a PanDA server take where nobody tells them otherwise.
TRIED = {80, 443, 3128, 3130, 5432, 8000, 8080, 8443, 25088, 25480}


@pytest.fixture(scope="module")
def public(host: Any, settings: dict[str, Any]) -> set[int]:
    """The ports that a client may use."""
    ports = {settings["panda_server_port"], settings["panda_server_port_ssl"]}
    return ports | ({settings["squid_port"]} if host.service("squid").exists else set())


def listening(host: Any, units: Any) -> dict[int, set[str]]:
    """TCP ports that listen on an address which others can reach, with the units that hold them."""
    found: dict[int, set[str]] = {}
    lines = host.check_output("ps -eo pid=,unit:64=").splitlines()
    unit_of = {int(pid): unit for pid, unit in (line.split() for line in lines)}
    for line in host.check_output("ss --no-header --listening --tcp --numeric --processes").splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if not address.startswith(("127.", "[::1]")):
            holders = {unit_of.get(int(pid), "") for pid in re.findall(r"pid=(\d+)", line)}
            found.setdefault(int(port), set()).update(holders)
    return found


def test_every_public_port_is_reachable(outside: Any, public: set[int]) -> None:
    assert {port for port in public if outside.connects(port)} == public


def test_our_units_listen_on_the_public_ports_only(host: Any, units: Any, public: set[int]) -> None:
    held = {
        port: holders
        for port, holders in listening(host, units).items()
        if holders & {*units.children, "squid.service"}
    }
    assert set(held) == public
    assert not any({"panda_wsgi.service", "panda_daemon.service"} & holders for holders in held.values())


def test_nothing_but_the_public_ports_and_ssh_is_reachable(
    host: Any, units: Any, outside: Any, settings: dict[str, Any], public: set[int]
) -> None:
    tried = TRIED | set(listening(host, units)) | public
    ssh = int(settings.get("ansible_port", 22))
    assert {port for port in tried if outside.connects(port)} - {ssh} == public


def test_what_opens_the_ports_is_the_firewall(
    host: Any, outside: Any, settings: dict[str, Any], eventually: Callable[..., None]
) -> None:
    if not settings["panda_server_firewall_manage"]:
        pytest.skip("panda_server_firewall_manage is false: the site keeps this node's firewall")
    assert host.service("firewalld").is_enabled
    for port in (outside.port, outside.port_ssl):
        host.run_expect([0], f"firewall-cmd --policy=panda-server --remove-port={port}/tcp")
    try:
        assert (
            host.socket(f"tcp://0.0.0.0:{outside.port}").is_listening
            or host.socket(f"tcp://:::{outside.port}").is_listening
        )
        assert not outside.connects(outside.port)
        assert not outside.connects(outside.port_ssl)
    finally:
        host.run_expect([0], "firewall-cmd --reload")
    eventually(outside.alive, True, within=10)
