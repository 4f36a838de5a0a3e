"""The configuration of haproxy and its part of the firewall, over several sets of variables."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible.template import Templar

from .conftest import ROOT, Render, Renderer

NODES = [
    {"name": "atlas-pandaserver-00", "addresses": ["192.0.2.10", "2001:db8::10"]},
    {"name": "atlas-pandaserver-01", "addresses": ["192.0.2.11"]},
]
VARIANTS: dict[str, dict[str, Any]] = {
    "two nodes": {},
    "a node with IPv6 only": {"__load_balancer_nodes": [{"name": "six", "addresses": ["2001:db8::6"]}]},
    "much set": {
        "load_balancer_addresses": ["127.0.0.1", "::1"],
        "load_balancer_port": 8080,
        "load_balancer_port_ssl": 8443,
        "load_balancer_port_cache": 8085,
        "load_balancer_check_interval": 5,
        "load_balancer_log_requests": False,
        "load_balancer_status_port": 9404,
        "load_balancer_monitoring_clients": ["192.0.2.7", "2001:db8:1::/64"],
    },
}


def conf(render: Render, **variables: Any) -> str:
    return str(render("load_balancer", "haproxy.cfg.j2", **{"__load_balancer_nodes": NODES, **variables}))


def section(text: str, name: str) -> list[str]:
    """The lines of a section, without comments."""
    found = re.search(rf"(?ms)^{name}$(.*?)(?=^\S|\Z)", text)
    assert found, f"no section {name}"
    lines = [line.strip() for line in found.group(1).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("os_family", ["RedHat", "Debian"])
@pytest.mark.parametrize("name", VARIANTS)
def test_haproxy_takes_every_variant(render: Render, tmp_path: Path, name: str, os_family: str) -> None:
    text = conf(render, os_family=os_family, **VARIANTS[name])
    assert not re.search(r"\{\{|\{%|None|__load_balancer", text)
    # The account is there on a host that has the package as its service; here it may be its program only.
    file = tmp_path / "haproxy.cfg"
    file.write_text(re.sub(r"(?m)^    (user|group) haproxy$", "", text))
    judged = subprocess.run(["haproxy", "-c", "-f", file], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr
    assert "WARNING" not in judged.stderr, judged.stderr


def test_haproxy_would_have_refused_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text("backend b\n    server one 192.0.2.1:80 trackk x\n")
    assert subprocess.run(["haproxy", "-c", "-f", file], capture_output=True, check=False).returncode != 0


def test_a_node_is_asked_once_and_is_in_or_out_of_all_three(render: Render) -> None:
    text = conf(render)
    assert section(text, "backend panda_http")[-2:] == [
        "server atlas-pandaserver-00 192.0.2.10:25080 check",
        "server atlas-pandaserver-01 192.0.2.11:25080 check",
    ]
    assert section(text, "backend panda_https")[-1] == (
        "server atlas-pandaserver-01 192.0.2.11:25443 track panda_http/atlas-pandaserver-01"
    )
    assert section(text, "backend panda_cache")[-1] == (
        "server atlas-pandaserver-01 192.0.2.11:25085 track panda_http/atlas-pandaserver-01"
    )


def test_what_was_offboarded_gets_no_request(render: Render) -> None:
    nodes = render(
        "load_balancer",
        "{{ __load_balancer_nodes }}",
        groups={"panda_servers": ["n1", "n2", "n3"], "panda_offboarded": ["n2"]},
        hostvars={f"n{number}": {"ansible_host": f"192.0.2.{number}"} for number in (1, 2, 3)},
    )
    assert [node["name"] for node in nodes] == ["n1", "n3"]


def test_tls_is_passed_through(render: Render) -> None:
    text = conf(render)
    assert "mode tcp" in section(text, "frontend panda_https_in")
    assert not re.search(r"(?m)^\s+bind .* ssl", text)


def test_no_request_that_acts_is_sent_twice(render: Render) -> None:
    backend = section(conf(render), "backend panda_http")
    assert "retry-on conn-failure empty-response" in backend
    assert "http-request disable-l7-retry if !reading" in backend
    assert "http-request disable-l7-retry if old_method !alive" in backend


@pytest.mark.parametrize(
    "variables",
    [{}, {"panda_server_dbtimeout": 60}, {"panda_server_dbtimeout": 500}, {"panda_server_mcp_enabled": True}],
)
def test_an_answer_may_take_longer_than_a_nodes_httpd_waits_for_it(render: Render, variables: dict[str, Any]) -> None:
    node = {"globs": {"/etc/grid-security/certificates/*.0": []}}
    httpd = render("panda_server", "panda_server-httpd.conf.j2", panda_preflight={"node": node}, **variables)
    waits = max(int(seconds) for seconds in re.findall(r"timeout=(\d+) retry", httpd))
    lines = section(conf(render, **variables), "defaults")
    found = {side: int(re.search(rf"timeout {side} (\d+)s", "\n".join(lines))[1]) for side in ("client", "server")}
    assert min(found.values()) > waits, (found, waits)


def test_a_balancer_that_knows_nothing_of_the_nodes_waits_as_their_defaults_say(renderer: Renderer) -> None:
    default = renderer.read(ROOT / "roles/load_balancer/defaults/main.yml")["load_balancer_request_timeout"]
    assert Templar(renderer.loader, {}).template(default) == 340


def test_the_status_page_is_for_the_host_alone_unless_monitoring_is_named(render: Render) -> None:
    found = section(conf(render), "frontend panda_status")
    assert [line for line in found if line.startswith("bind ")] == ["bind 127.0.0.1:8404"]
    found = section(conf(render, load_balancer_monitoring_clients=["192.0.2.7"]), "frontend panda_status")
    assert "bind :::8404 v4v6" in found
    assert "http-request deny unless { src 127.0.0.0/8 ::1 192.0.2.7 }" in found


def test_the_admin_socket_is_for_root(render: Render) -> None:
    (line,) = [line for line in section(conf(render), "global") if line.startswith("stats socket")]
    assert " mode 600 " in line
    assert line.endswith("expose-fd listeners")


def policy(render: Render, **variables: Any) -> ElementTree.Element:
    return ElementTree.fromstring(str(render("load_balancer", "firewalld-policy.xml.j2", **variables)))


def test_the_firewall_lets_everybody_at_the_three_ports(render: Render) -> None:
    root = policy(render)
    assert [port.attrib["port"] for port in root.findall("port")] == ["25080", "25443", "25085"]
    assert root.findall("rule") == []


def test_the_firewall_lets_only_monitoring_at_the_status_page(render: Render) -> None:
    rules = policy(render, load_balancer_monitoring_clients=["192.0.2.7", "2001:db8::/64"]).findall("rule")
    assert [rule.attrib["family"] for rule in rules] == ["ipv4", "ipv6"]
    assert [port.attrib["port"] for rule in rules for port in rule.findall("port")] == ["8404", "8404"]
