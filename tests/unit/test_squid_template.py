"""The configuration of squid and its part of the firewall, over several sets of variables."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from .conftest import Render

TWO_SIBLINGS = [
    {"name": "atlas-pandaserver-00", "addresses": ["192.0.2.10", "2001:db8::10"]},
    {"name": "atlas-pandaserver-01", "addresses": ["192.0.2.11"]},
]
# Also tried with the squid of a test node, in tests/node/test_squid.py.
VARIANTS: dict[str, dict[str, Any]] = {
    "alone": {"__squid_siblings": []},
    "two siblings": {"__squid_siblings": TWO_SIBLINGS},
    "a sibling with IPv6 only": {"__squid_siblings": [{"name": "six", "addresses": ["2001:db8::6"]}]},
    "much set": {
        "__squid_siblings": TWO_SIBLINGS,
        "squid_port": 8085,
        "squid_origin_port": 8080,
        "squid_icp_port": 3131,
        "squid_icp_query_timeout": 500,
        "squid_site": "panda.example.org",
        "squid_paths": ["/cache/", "/trf/user/", "/cric/v1.2/"],
        "squid_cache_mem": 1024,
        "squid_cache_disk": 10000,
        "squid_object_max": 200,
    },
}


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def patterns(text: str, acl: str) -> list[str]:
    """The regular expressions of an ACL."""
    found = next(line for line in lines(text) if line.startswith(f"acl {acl} "))
    return [word for word in found.split()[3:] if word not in ("-i", "Cache-Control", "Expires")]


def conf(render: Render, **variables: Any) -> str:
    return str(render("squid", "squid.conf.j2", **{"__squid_siblings": [], **variables}))


@pytest.mark.parametrize("os_family", ["RedHat", "Debian"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_renders_without_a_trace_of_jinja(render: Render, name: str, os_family: str) -> None:
    text = conf(render, os_family=os_family, **VARIANTS[name])
    assert not re.search(r"\{\{|\{%|None|__squid", text)


def test_a_node_alone_neither_asks_nor_answers_other_caches(render: Render) -> None:
    found = lines(conf(render))
    assert "icp_port 0" in found
    assert "icp_access deny all" in found
    assert not [line for line in found if "sibling" in line]


def test_every_sibling_is_asked_by_its_address_and_never_for_a_sibling(render: Render) -> None:
    found = lines(conf(render, __squid_siblings=TWO_SIBLINGS))
    peers = [line for line in found if line.startswith("cache_peer ") and " sibling " in line]
    assert [line.split()[1] for line in peers] == ["192.0.2.10", "192.0.2.11"]
    assert all("proxy-only" in line for line in peers)
    for sibling in TWO_SIBLINGS:
        assert f"cache_peer_access {sibling['name']} deny siblings" in found


def test_siblings_are_known_by_all_their_addresses_and_get_no_misses(render: Render) -> None:
    found = lines(conf(render, __squid_siblings=TWO_SIBLINGS))
    assert "acl siblings src 192.0.2.10 2001:db8::10 192.0.2.11" in found
    assert found.index("miss_access deny siblings") < found.index("miss_access allow all")
    assert found.index("icp_access allow siblings") < found.index("icp_access deny all")


def test_what_is_not_allowed_is_refused_before_everything_is_allowed(render: Render) -> None:
    access = [line.removeprefix("http_access ") for line in lines(conf(render)) if line.startswith("http_access ")]
    assert access == ["deny manager", "deny !reads", "deny !paths", "deny path_tricks", "allow all"]


def test_a_dot_in_a_path_is_a_dot(render: Render) -> None:
    (pattern,) = patterns(conf(render, squid_paths=["/cric/v1.2/"]), "paths")
    assert re.search(pattern, "/cric/v1.2/sites.json")
    assert not re.search(pattern, "/cric/v1x2/sites.json")


@pytest.mark.parametrize(
    "path", ["/cache/../auth/x", "/cache/..", "/cache/./x", "/cache//x", "/cache/%2e%2e/x", "/cache/a\\b"]
)
def test_a_path_that_httpd_would_read_otherwise_is_refused(render: Render, path: str) -> None:
    assert any(re.search(pattern, path) for pattern in patterns(conf(render), "path_tricks"))


@pytest.mark.parametrize("path", ["/cache/a..b", "/cache/.hidden", "/cache/x?y=../z", "/cache/x?u=http://a/%20"])
def test_an_ordinary_path_is_not_refused(render: Render, path: str) -> None:
    assert not any(re.search(pattern, path) for pattern in patterns(conf(render), "path_tricks"))


@pytest.mark.parametrize("seconds", [301, 309, 310, 399, 400, 999, 1000, 86400, 31536000])
def test_an_answer_that_asks_to_be_kept_longer_than_300_s_is_noticed(render: Render, seconds: int) -> None:
    (pattern,) = patterns(conf(render), "long_life")
    assert re.search(pattern, f"public, max-age={seconds}")
    assert re.search(pattern, f's-maxage="{seconds}"')


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 99, 299, 300])
def test_an_answer_that_may_be_kept_up_to_300_s_is_kept(render: Render, seconds: int) -> None:
    (pattern,) = patterns(conf(render), "long_life")
    assert not re.search(pattern, f"max-age={seconds}, must-revalidate")


def test_the_disk_cache_knows_the_largest_object_before_it_is_defined(render: Render) -> None:
    found = lines(conf(render, squid_cache_disk=10000, squid_object_max=200))
    assert found.index("maximum_object_size 200 MB") < found.index("cache_dir aufs /var/spool/squid 10000 16 256")


def test_objects_stay_in_memory_unless_a_disk_cache_is_asked_for(render: Render) -> None:
    assert "cache_dir" not in conf(render)


def test_the_pinger_is_switched_off_where_squid_has_one(render: Render) -> None:
    assert "pinger_enable off" in lines(conf(render, os_family="Debian"))
    assert "pinger_enable" not in conf(render, os_family="RedHat")


def policy(render: Render, **variables: Any) -> ElementTree.Element:
    return ElementTree.fromstring(str(render("squid", "firewalld-policy.xml.j2", **variables)))


def test_the_firewall_lets_everybody_at_the_cache(render: Render) -> None:
    root = policy(render, __squid_siblings=[])
    assert [port.attrib for port in root.findall("port")] == [{"port": "25085", "protocol": "tcp"}]
    assert root.findall("rule") == []


def test_the_firewall_lets_only_siblings_ask_what_is_cached(render: Render) -> None:
    rules = policy(render, __squid_siblings=TWO_SIBLINGS).findall("rule")
    assert [(rule.attrib["family"], rule.find("source").attrib["address"]) for rule in rules] == [
        ("ipv4", "192.0.2.10"),
        ("ipv6", "2001:db8::10"),
        ("ipv4", "192.0.2.11"),
    ]
    for rule in rules:
        assert [port.attrib for port in rule.findall("port")] == [{"port": "3130", "protocol": "udp"}]
        assert rule.find("accept") is not None
