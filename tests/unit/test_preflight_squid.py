"""What the role squid refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import squid

GOOD: dict[str, Any] = {
    "inventory_hostname": "n1",
    "groups": {"all": ["n1", "n2"], "panda_servers": ["n1", "n2"]},
    "addresses": {"n1": "n1.example.org", "n2": "n2.example.org"},
    "squid_port": 25085,
    "squid_origin_port": 25080,
    "squid_site": "pandaserver.cern.ch",
    "squid_paths": ["/cache/", "/trf/"],
    "squid_peer_group": "panda_servers",
    "squid_offboarded_group": "panda_offboarded",
    "squid_icp_port": 3130,
    "squid_icp_query_timeout": 200,
    "squid_cache_mem": 256,
    "squid_cache_disk": 0,
    "squid_cache_directory": "/var/spool/squid",
    "squid_object_max": 64,
    "squid_firewall_manage": True,
}
NAMES = {"n1.example.org": ["192.0.2.1"], "n2.example.org": ["192.0.2.2"]}
IDLE: dict[str, Any] = {"listeners": []}


def faults(node: dict[str, Any] = IDLE, names: dict[str, list[str]] = NAMES, **variables: Any) -> list[str]:
    return squid.faults({**GOOD, **variables}, node, resolve=lambda name: names.get(name, []))


def listener(protocol: str, port: int, process: str, unit: str) -> dict[str, Any]:
    return {"listeners": [{"protocol": protocol, "port": port, "pid": 77, "process": process, "unit": unit}]}


def test_what_is_right_has_no_fault() -> None:
    assert faults() == []


def test_squid_itself_may_hold_its_ports() -> None:
    assert faults(listener("tcp", 25085, "squid", "squid.service")) == []


def test_another_process_on_the_port_is_named() -> None:
    (fault,) = faults(listener("tcp", 25085, "nginx", "nginx.service"))
    assert "25085" in fault
    assert "nginx" in fault


def test_the_port_between_caches_counts_only_where_there_are_siblings() -> None:
    taken = listener("udp", 3130, "other", "")
    assert len(faults(taken)) == 1
    assert faults(taken, groups={"panda_servers": ["n1"]}) == []


def test_a_sibling_without_an_address_is_named() -> None:
    (fault,) = faults(names={"n1.example.org": ["192.0.2.1"]})
    assert fault.startswith("n2:")
    assert "'n2.example.org'" in fault


def test_a_sibling_with_this_node_s_address_is_named() -> None:
    (fault,) = faults(names={"n1.example.org": ["192.0.2.1"], "n2.example.org": ["192.0.2.9", "192.0.2.1"]})
    assert "192.0.2.1" in fault


def test_a_group_that_is_not_there_is_named() -> None:
    (fault,) = faults(squid_peer_group="pandas")
    assert fault.startswith("squid_peer_group: 'pandas'")


def test_a_node_outside_the_group_has_no_siblings() -> None:
    assert squid.sibling_hosts({**GOOD, "groups": {"panda_servers": ["n2"]}}) == []


def test_an_offboarded_host_is_nobody_s_sibling_and_has_none() -> None:
    groups = {"panda_servers": ["n1", "n2", "n3"], "panda_offboarded": ["n2"]}
    assert squid.sibling_hosts({**GOOD, "groups": groups}) == ["n3"]
    assert squid.sibling_hosts({**GOOD, "groups": groups, "inventory_hostname": "n2"}) == []


@pytest.mark.parametrize(
    "path", ["/auth/", "/server/panda/", "/api/v1/", "/node/", "/", "cache", "/cache", "/ca che/", "/../"]
)
def test_a_path_that_may_not_be_cached_is_refused(path: str) -> None:
    assert faults(squid_paths=[path])


@pytest.mark.parametrize(
    "variables",
    [
        {"squid_port": 25080},
        {"squid_port": 0},
        {"squid_icp_port": 70000},
        {"squid_cache_mem": 0},
        {"squid_cache_disk": -1},
        {"squid_cache_directory": "spool"},
        {"squid_site": "a b"},
        {"squid_site": "site\nhttp_access allow all"},
        {"squid_paths": []},
        {"squid_icp_query_timeout": 0},
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(variables: dict[str, Any]) -> None:
    found = faults(**variables)
    assert len(found) == 1
    assert next(iter(variables)) in found[0]


def test_all_faults_are_reported_together() -> None:
    assert len(faults(squid_site="a b", squid_cache_mem=0, squid_paths=["/auth/"])) == 3
