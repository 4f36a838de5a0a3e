"""What the role load_balancer refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import load_balancer

from .conftest import ROOT, Renderer

GOOD: dict[str, Any] = {
    "inventory_hostname": "lb",
    "groups": {"all": ["lb", "n1", "n2"], "panda_servers": ["n1", "n2"], "load_balancers": ["lb"]},
    "addresses": {"lb": "lb.example.org", "n1": "n1.example.org", "n2": "n2.example.org"},
}
NAMES = {"n1.example.org": ["192.0.2.1"], "n2.example.org": ["192.0.2.2"]}
IDLE: dict[str, Any] = {
    "os": {"ID": "almalinux", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "9.6"},
    "machine": "x86_64",
    "systemd": True,
    "listeners": [],
}


@pytest.fixture(scope="module")
def defaults(renderer: Renderer) -> dict[str, Any]:
    """The role's defaults, as a host has them that sets none."""
    names = renderer.read(ROOT / "roles" / "load_balancer" / "defaults" / "main.yml")
    return {name: renderer("load_balancer", "{{ " + name + " }}") for name in names}


class Judge:
    """The faults of a host with these variables."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self.defaults = defaults

    def __call__(self, node: dict[str, Any] = IDLE, names: dict[str, list[str]] = NAMES, **given: Any) -> list[str]:
        variables = {**self.defaults, **GOOD, **given}
        return load_balancer.faults(variables, node, resolve=lambda name: names.get(name, []))


@pytest.fixture
def faults(defaults: dict[str, Any]) -> Judge:
    return Judge(defaults)


def test_the_defaults_have_no_fault(faults: Judge) -> None:
    assert faults() == []


def test_an_operating_system_that_the_role_does_not_know_is_refused(faults: Judge) -> None:
    (fault,) = faults({**IDLE, "os": {"ID": "fedora", "VERSION_ID": "40", "PRETTY_NAME": "Fedora 40"}})
    assert "Fedora 40" in fault


@pytest.mark.parametrize("port", [25080, 25443, 25085, 8404])
def test_a_port_that_something_else_holds_is_named_with_what_holds_it(faults: Judge, port: int) -> None:
    taken = {"protocol": "tcp", "port": port, "pid": 77, "process": "httpd", "unit": "panda_httpd.service"}
    (fault,) = faults({**IDLE, "listeners": [taken]})
    assert str(port) in fault
    assert "panda_httpd.service" in fault


def test_haproxy_itself_may_hold_its_ports(faults: Judge) -> None:
    own = {"protocol": "tcp", "port": 25080, "pid": 77, "process": "haproxy", "unit": "haproxy.service"}
    assert faults({**IDLE, "listeners": [own]}) == []


def test_a_node_without_an_address_is_named(faults: Judge) -> None:
    (fault,) = faults(names={"n1.example.org": ["192.0.2.1"]})
    assert fault.startswith("n2:")
    assert "'n2.example.org'" in fault


def test_a_node_that_was_offboarded_needs_none(faults: Judge) -> None:
    groups = {**GOOD["groups"], "panda_offboarded": ["n2"]}
    assert faults(names={"n1.example.org": ["192.0.2.1"]}, groups=groups) == []


def test_a_balancer_without_a_node_is_refused(faults: Judge) -> None:
    (fault,) = faults(groups={**GOOD["groups"], "panda_offboarded": ["n1", "n2"]})
    assert fault.startswith("load_balancer_node_group:")


def test_a_group_that_is_not_there_is_named(faults: Judge) -> None:
    (fault,) = faults(load_balancer_node_group="pandas")
    assert fault.startswith("load_balancer_node_group: 'pandas'")


@pytest.mark.parametrize(
    "given",
    [
        {"load_balancer_port": 0},
        {"load_balancer_port": 25443},
        {"load_balancer_status_port": 70000},
        {"load_balancer_status_port": 25080},
        {"load_balancer_check_interval": 0},
        {"load_balancer_check_fall": 0},
        {"load_balancer_retries": 0},
        {"load_balancer_request_timeout": -1},
        {"load_balancer_max_connections": 10},
        {"load_balancer_addresses": []},
        {"load_balancer_addresses": ["lb.example.org"]},
        {"load_balancer_addresses": ["192.0.2.0/24"]},
        {"load_balancer_monitoring_clients": ["monitor.example.org"]},
        {"load_balancer_monitoring_clients": ["192.0.2.1\n    stats admin if TRUE"]},
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(faults: Judge, given: dict[str, Any]) -> None:
    found = faults(**given)
    assert len(found) == 1
    assert next(iter(given)) in found[0]


def test_all_faults_are_reported_together(faults: Judge) -> None:
    assert len(faults(load_balancer_port=0, load_balancer_retries=0, load_balancer_node_group="pandas")) == 3
