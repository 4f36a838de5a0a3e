"""The judgement of the health report: a sound node has no fault, and each fault is named once, with its remedy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.module_utils.haproxy import BACKENDS
from ansible_collections.panda.provision.plugins.plugin_utils.health import judge, model, questions
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns import neighbours

from .conftest import MakePair, Pair
from .health_findings import ADDRESSES, BALANCERS, CERTIFICATE, CHAIN, RELEASE, change, expected, sound

Spoil = Callable[[dict[str, Any]], Any]
LIMITS = model.Limits()


@pytest.fixture(scope="module")
def pair(make_pair: MakePair) -> Pair:
    return make_pair("pandaserver.cern.ch", valid_to=90)


def judged(
    found: dict[str, Any], changes: list[dict[str, Any]] | None = None, limits: model.Limits = LIMITS
) -> model.Node:
    name = found["expected"]["name"]
    return judge.fleet({name: found}, None if changes is None else {name: changes}, BALANCERS, limits)[0]


def named(node: model.Node) -> list[tuple[str, str]]:
    return [(fault.column, fault.thing) for fault in node.faults]


def test_a_sound_node_has_no_fault_and_a_text_in_every_column(pair: Pair) -> None:
    node = judged(sound("node-00", pair), [])
    assert node.faults == []
    assert node.cells == {
        "state": "production", "units": "8/8", "ports": "3/3", "release": RELEASE, "schema": "1.2.0", "cert": "89 d",
        "squid": "2/2", "lb": "1/1", "clock": "+0.0 s", "disk": "41 %", "drift": "none",
    }  # fmt: skip


def test_a_cache_node_is_not_asked_for_what_it_does_not_have(pair: Pair) -> None:
    found = sound("node-00", pair)
    found["expected"] = expected("node-00", panda_server_cache_only=True)
    assert questions.look(found["expected"])["schema_command"] == []
    found["seen"]["schema"] = {}
    for unit_name in ("panda_wsgi.socket", "panda_wsgi.service", "panda_daemon.service"):
        del found["seen"]["units"][unit_name]
    for name in ("live", "ready"):
        found["seen"]["answers"][questions.urls(found["expected"])[name]] = {"status": 404, "body": "Not Found"}
    node = judged(found, [])
    assert node.faults == []
    assert (node.cells["units"], node.cells["schema"]) == ("5/5", "-")


def unit(name: str, **values: Any) -> Spoil:
    return lambda seen: seen["units"][name].update(values)


def text(path: str, value: str | None) -> Spoil:
    return lambda seen: seen["texts"].update({path: value}) if value is not None else seen["texts"].pop(path)


def place(**values: Any) -> Spoil:
    return lambda seen: seen["links"]["/opt/panda"].update(values)


def releases(**values: Any) -> Spoil:
    return lambda seen: seen["records"]["/opt/panda.releases/releases.json"].update(values)


def drained(record: dict[str, Any] | None, state: str = "draining") -> Spoil:
    def spoil(seen: dict[str, Any]) -> None:
        seen["records"][questions.DRAIN_RECORD] = record
        seen["texts"][questions.STATE_FILE] = f"{state}\n"

    return spoil


def sibling(**values: str) -> Spoil:
    return lambda seen: seen["siblings"][ADDRESSES["node-01"]].update(values)


def answers(path: str, status: int, body: str) -> Spoil:
    return lambda seen: seen["answers"].update({f"http://127.0.0.1:25080{path}": {"status": status, "body": body}})


def clock(seconds: float) -> Spoil:
    return lambda seen: seen.update(begun=seen["begun"] + seconds, ended=seen["ended"] + seconds)


FAULTS: dict[str, tuple[Spoil, str, str, str, str]] = {
    # what is spoiled, then: column, thing, a part of what is said of it, a part of the remedy
    "stopped unit": (
        unit("panda_daemon.service", active="inactive"),
        "units", "panda_daemon.service", "is inactive", "systemctl start panda_daemon.service",
    ),
    "failed unit": (
        unit("squid.service", active="failed", result="exit-code"),
        "units", "squid.service", "is failed (exit-code)", "journalctl -u squid.service",
    ),
    "disabled unit": (
        unit("squid.service", enabled="disabled"),
        "units", "squid.service", "is disabled: it would not come back after a reboot", "systemctl enable squid",
    ),
    "masked unit": (unit("squid.service", load="masked"), "units", "squid.service", "is masked", "systemctl unmask"),
    "unit that is not there": (
        unit("logrotate.timer", load="not-found"),
        "units", "logrotate.timer", "is not installed", "ansible-playbook site.yml -l node-00",
    ),
    "flapping unit": (
        unit("panda_wsgi.service", restarts=5, active_seconds=20),
        "units", "panda_wsgi.service", "was restarted 5 times, last 20 s ago", "journalctl -u panda_wsgi.service",
    ),
    "port that nobody holds": (
        lambda seen: seen["listeners"].pop(),
        "ports", "port 25085", "nobody listens, though squid.service is active", "journalctl -u squid.service",
    ),
    "port that somebody else holds": (
        lambda seen: seen["listeners"][0].update(unit="nginx.service", process="nginx"),
        "ports", "port 25080", "is held by nginx", "systemctl stop nginx.service",
    ),
    "application that does not answer": (
        answers("/server/panda/isAlive", 502, "bad gateway"),
        "ports", "http://127.0.0.1:25080/server/panda/isAlive", "answers 502: bad gateway", "journalctl -u panda_wsgi",
    ),
    "wrong release": (
        place(target="panda.releases/0.9.0-ffffffffff"),
        "release", "/opt/panda", f"0.9.0-ffffffffff, and the last good release is {RELEASE}", "rollback.yml -l node-00",
    ),
    "release that is gone": (place(leads=False), "release", "/opt/panda", "which is not there", "site.yml -l node-00"),
    "folder in place of the link": (
        place(target=""), "release", "/opt/panda", "is no link to a release", "site.yml -l node-00",
    ),
    "known bad release": (
        releases(bad={RELEASE: "isAlive did not answer"}),
        "release", RELEASE, "is active and known to be bad: isAlive did not answer", "rollback.yml -l node-00",
    ),
    "release that was never good": (
        releases(last_good=None), "release", RELEASE, "has never passed its health gate", "site.yml -l node-00",
    ),
    "release that does not run yet": (
        answers("/node/live", 200, '{"live": true, "release": "0.9.0-ffffffffff"}'),
        "release", "/opt/panda", "the application still runs 0.9.0-ffffffffff", "systemctl restart panda_wsgi",
    ),
    "drained by hand": (
        drained({"by": "drain", "since": 60}),
        "state", "node-00", "out of service by drain since 1970-01-01 00:01 UTC (2", "undrain.yml -l node-00",
    ),
    "drained by an upgrade": (
        drained({"by": "upgrade", "since": 0}),
        "state", "node-00", "by upgrade", "repeat playbooks/upgrade.yml, which brings it back; or ansible-playbook "
        "playbooks/undrain.yml -l node-00 -e drained_by=upgrade",
    ),
    "half undrained": (
        drained({"by": "drain", "since": 0}, "production"),
        "state", "node-00", "is production, held out of service by drain", "undrain.yml",
    ),
    "maintenance of a drained node": (
        drained({"by": "drain", "since": 0}, "maintenance"),
        "state", "node-00", "is maintenance, held out of service by drain",
        "echo production > /etc/panda/node_state; then ansible-playbook playbooks/undrain.yml -l node-00",
    ),
    "maintenance": (
        drained(None, "maintenance"), "state", "node-00", "is in maintenance, set by hand", "echo production >",
    ),
    "no state": (
        text(questions.STATE_FILE, None), "state", questions.STATE_FILE, "is missing or empty", "write one of",
    ),
    "not ready": (
        answers("/node/ready", 503, '{"ready": false, "reasons": ["database unreachable"]}'),
        "state", "/node/ready", "not ready: database unreachable", "panda-DBProxyPool.log",
    ),
    "old schema": (
        lambda seen: seen["schema"].update(installed="1.1.0", fault="installed is 1.1.0"),
        "schema", "database schema", "1.1.0 is installed, and the active release needs 1.2.0", "the owner of",
    ),
    "no schema": (
        lambda seen: seen["schema"].update(installed="", fault="no schema is installed"),
        "schema", "database schema", "is missing; 1.2.0 is needed", "the owner of the database",
    ),
    "database that is away": (
        lambda seen: seen["schema"].update(installed="", fault="postgres db: connection refused"),
        "schema", "database", "does not answer: postgres db: connection refused", "node-00 may reach it",
    ),
    "no certificate": (text(CERTIFICATE, None), "cert", CERTIFICATE, "is missing", "-t panda_server_certificates"),
    "spoiled certificate": (text(CERTIFICATE, "?"), "cert", CERTIFICATE, "is not a certificate", "renewed one"),
    "no chain": (text(CHAIN, None), "cert", CHAIN, "is missing", "renewed one"),
    "key of another": (
        lambda seen: seen.update(key_fault="it belongs to another certificate"),
        "cert", "/etc/grid-security/hostkey.pem", "does not fit", "renewed one",
    ),
    "no TLS": (
        lambda seen: seen.update(served={"pem": "", "error": "refused"}),
        "cert", "port 25443", "does not serve TLS: refused", "journalctl -u panda_httpd",
    ),
    "sibling that is missing": (
        lambda seen: seen["peers"].pop(0),
        "squid", "node-01", "is a sibling by the inventory and not in /etc/squid/squid.conf", "site.yml -l node-00",
    ),
    "sibling too many": (
        lambda seen: seen["peers"].append({"name": "node-77", "address": "192.0.2.77"}),
        "squid", "node-77", "is none by the inventory", "site.yml -l node-00",
    ),
    "dead sibling": (
        sibling(icp="silent"), "squid", "node-01", "no answer on 3130/udp of 192.0.2.11", "on node-01: systemctl",
    ),
    "sibling whose port is shut": (
        sibling(http="No route to host"), "squid", "node-01", "no answer on 25085/tcp", "is port 25085/tcp open?",
    ),
    "sibling that refuses": (sibling(icp="denied"), "squid", "node-01", "does not know this node", "-l node-01"),
    "clock ahead": (clock(90), "clock", "clock", "is 90.0 s ahead of the control machine's", "timedatectl"),
    "clock behind": (clock(-90), "clock", "clock", "is 90.0 s behind the control machine's", "chronyc makestep"),
    "no NTP": (lambda seen: seen.update(ntp="no"), "clock", "NTP", "does not keep the clock right", "chronyd"),
    "full disk": (
        lambda seen: seen["disks"]["/var/log/panda"].update(device=2, used_percent=97, free_bytes=3 * 10**6),
        "disk", "/var/log/panda", "is 97 % full, 3 MB left", "du -xh",
    ),
    "no inodes": (
        lambda seen: seen["disks"]["/var/log/panda"].update(device=2, files_percent=100),
        "disk", "/var/log/panda", "its inodes are 100 % used", "du -xh",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", FAULTS)
def test_each_fault_is_named_alone_with_its_remedy(pair: Pair, which: str) -> None:
    spoil, column, thing, what, remedy = FAULTS[which]
    found = sound("node-00", pair)
    spoil(found["seen"])
    node = judged(found, [])
    assert named(node) == [(column, thing)]
    assert what in node.faults[0].what
    assert remedy in node.faults[0].remedy


def test_a_port_that_only_the_node_itself_reaches(pair: Pair) -> None:
    found = sound("node-00", pair)
    found["outside"]["25443"] = "No route to host"
    node = judged(found)
    assert named(node) == [("ports", "port 25443")]
    assert "does not get through: No route to host" in node.faults[0].what
    assert "firewall-cmd --info-policy=panda-server" in node.faults[0].remedy
    assert node.cells["ports"] == "2/3"


@pytest.mark.parametrize(
    ("names", "valid_to", "what"),
    [
        (("pandaserver.cern.ch",), 10, "expires in 9 days"),
        (("pandaserver.cern.ch",), 0, "expired on"),
        (("other.cern.ch",), 90, "is not valid for pandaserver.cern.ch, only for other.cern.ch"),
    ],
)
def test_a_certificate_that_will_not_do(make_pair: MakePair, names: tuple[str], valid_to: int, what: str) -> None:
    node = judged(sound("node-00", make_pair(*names, valid_from=-30, valid_to=valid_to)))
    assert named(node) == [("cert", CERTIFICATE)]
    assert what in node.faults[0].what


def test_another_certificate_than_the_one_on_disk_is_served(pair: Pair, make_pair: MakePair) -> None:
    found = sound("node-00", pair)
    found["seen"]["served"]["pem"] = make_pair("pandaserver.cern.ch", valid_to=5).certificate
    node = judged(found)
    assert named(node) == [("cert", "port 25443")]
    assert "systemctl reload panda_httpd" in node.faults[0].remedy


def test_a_chain_of_another_authority(pair: Pair, make_pair: MakePair) -> None:
    found = sound("node-00", pair)
    found["seen"]["texts"][CHAIN] = make_pair("elsewhere.example.org").certificate
    assert named(judged(found)) == [("cert", CHAIN)]


def test_a_chain_that_has_expired_though_the_certificate_has_not(make_pair: MakePair) -> None:
    authority = make_pair(valid_from=-30, valid_to=-2)
    found = sound("node-00", make_pair("pandaserver.cern.ch", valid_to=90, signer=authority))
    found["seen"]["texts"][CHAIN] = authority.certificate
    (fault,) = judged(found).faults
    assert (fault.column, fault.thing) == ("cert", CHAIN)
    assert fault.what.startswith("holds CN=pandaserver.cern.ch, which expired on ")


@pytest.mark.parametrize(
    ("changes", "faulty"),
    [({}, True), ({"panda_server_token_auth_type": "oidc"}, False), ({"panda_server_cache_only": True}, False)],
)
def test_a_node_on_which_nobody_can_authenticate(pair: Pair, changes: dict[str, Any], faulty: bool) -> None:
    found = sound("node-00", pair)
    found["expected"].update(changes)
    found["seen"]["texts"][questions.HTTPD_CONF] = "    SSLVerifyClient none\n"
    node = judged(found)
    assert named(node) == ([("cert", "/etc/grid-security/certificates")] if faulty else [])


def test_children_stop_with_their_parent_which_is_named_alone(pair: Pair) -> None:
    found = sound("node-00", pair)
    for name, like in found["seen"]["units"].items():
        if name.startswith("panda"):
            like["active"] = "inactive"
    found["seen"].update(listeners=found["seen"]["listeners"][2:], answers={}, served={"pem": "", "error": "refused"})
    found["outside"].update({"25080": "Connection refused", "25443": "Connection refused"})
    node = judged(found)
    assert named(node) == [("units", "panda.service")]
    assert (node.cells["units"], node.cells["ports"]) == ("3/8", "1/3")


def test_a_node_whose_schema_does_not_fit_is_not_blamed_for_not_being_ready(pair: Pair) -> None:
    found = sound("node-00", pair)
    FAULTS["old schema"][0](found["seen"])
    answers("/node/ready", 503, '{"reasons": ["DB schema check: installed is 1.1.0"]}')(found["seen"])
    assert named(judged(found)) == [("schema", "database schema")]


def test_a_unit_that_reloads_runs(pair: Pair) -> None:
    found = sound("node-00", pair)
    unit("panda_httpd.service", active="reloading")(found["seen"])
    node = judged(found)
    assert (node.cells["units"], node.faults) == ("8/8", [])


def test_past_restarts_of_a_unit_that_has_run_for_long_are_no_fault(pair: Pair) -> None:
    found = sound("node-00", pair)
    found["seen"]["units"]["panda.service"].update(restarts=500, active_seconds=3600)
    assert judged(found).faults == []


def test_a_slow_way_to_the_node_is_not_taken_for_a_wrong_clock(pair: Pair) -> None:
    found = sound("node-00", pair)
    found["seen"]["received"] += 60
    node = judged(found)
    assert node.faults == []
    assert node.cells["clock"] == "+0.0 s"


def test_a_container_has_its_clock_from_its_host(pair: Pair) -> None:
    found = sound("node-00", pair)
    found["seen"].update(ntp="no", container="docker")
    assert judged(found).faults == []


def test_full_folders_of_one_file_system_are_one_fault(pair: Pair) -> None:
    found = sound("node-00", pair)
    for measured in found["seen"]["disks"].values():
        measured["used_percent"] = 95
    assert named(judged(found)) == [("disk", "/var/log/panda")]


def test_limits_are_the_sites(pair: Pair) -> None:
    strict = model.Limits(certificate_days=365, disk_percent=40)
    assert named(judged(sound("node-00", pair), limits=strict)) == [("cert", CERTIFICATE), ("disk", "/var/log/panda")]


def test_a_node_that_cannot_be_reached_is_a_row_like_another(pair: Pair) -> None:
    gone = {
        "expected": sound("node-01", pair)["expected"],
        "seen": {},
        "outside": {},
        "trouble": "cannot be reached: no route",
    }
    silent = sound("node-00", pair)
    sibling(icp="silent")(silent["seen"])
    first, second = judge.fleet({"node-00": silent, "node-01": gone}, {}, BALANCERS, LIMITS)
    # The sibling that its death left behind is not blamed for it.
    assert first.faults == []
    assert first.cells["squid"] == "1/2"
    assert named(second) == [("state", "node-01")]
    assert second.cells["state"] == "unreachable"
    assert second.cells["units"] == model.NOT_SEEN


def test_a_stopped_squid_is_named_once_in_the_fleet(pair: Pair) -> None:
    here, there = sound("node-00", pair), sound("node-01", pair)
    sibling(icp="silent", http="Connection refused")(here["seen"])
    unit("squid.service", active="inactive")(there["seen"])
    there["seen"]["listeners"].pop()
    first, second = judge.fleet({"node-00": here, "node-01": there}, None, BALANCERS, LIMITS)
    assert (named(first), named(second)) == ([], [("units", "squid.service")])


def test_a_sibling_that_was_forgotten_is_named_once_in_the_fleet(pair: Pair) -> None:
    here, there = sound("node-00", pair), sound("node-01", pair)
    sibling(icp="denied")(here["seen"])
    there["seen"]["peers"] = [peer for peer in there["seen"]["peers"] if peer["name"] != "node-00"]
    first, second = judge.fleet({"node-00": here, "node-01": there}, None, BALANCERS, LIMITS)
    assert (named(first), named(second)) == ([], [("squid", "node-00")])


@pytest.mark.parametrize(
    ("states", "what", "remedy"),
    [
        ({}, "does not know this node (panda_http, panda_https, panda_cache)", "site.yml -l lb-01"),
        ({"panda_http": "UP", "panda_https": "UP"}, "does not know this node (panda_cache)", "site.yml -l lb-01"),
        (dict.fromkeys(BACKENDS, "DOWN"), "though it is ready: DOWN in panda_http", "curl -i http://192.0.2.10:25080/n"),
        (
            {**dict.fromkeys(BACKENDS, "UP"), "panda_https": "MAINT"},
            "though it is ready: MAINT in panda_https", "systemctl reload haproxy",
        ),
    ],
)  # fmt: skip
def test_a_ready_node_that_a_balancer_keeps_out(pair: Pair, states: dict[str, str], what: str, remedy: str) -> None:
    found = sound("node-00", pair)
    (node,) = judge.fleet({"node-00": found}, None, {**BALANCERS, "lb-02": {"node-00": states}}, LIMITS)
    assert named(node) == [("lb", "lb-02")]
    assert what in node.faults[0].what
    assert remedy.replace("lb-01", "lb-02") in node.faults[0].remedy
    assert node.cells["lb"] == "1/2"


def test_a_node_that_is_not_ready_is_out_by_its_own_fault(pair: Pair) -> None:
    found = sound("node-00", pair)
    drained({"by": "drain", "since": 60})(found["seen"])
    answers("/node/ready", 503, '{"ready": false}')(found["seen"])
    (node,) = judge.fleet({"node-00": found}, None, {"lb-01": {"node-00": dict.fromkeys(BACKENDS, "DOWN")}}, LIMITS)
    assert (named(node), node.cells["lb"]) == ([("state", "node-00")], "0/1")


def test_a_node_that_a_balancer_is_about_to_take_in_has_no_fault(pair: Pair) -> None:
    coming = {"lb-01": {"node-00": dict.fromkeys(BACKENDS, "DOWN 1/2")}}
    (node,) = judge.fleet({"node-00": sound("node-00", pair)}, None, coming, LIMITS)
    assert (node.faults, node.cells["lb"]) == ([], "0/1")


def test_what_a_balancer_has_besides_the_fleet_is_named(pair: Pair) -> None:
    known = {"lb-01": dict.fromkeys([*ADDRESSES, "node-77"], dict.fromkeys(BACKENDS, "UP"))}
    one = {"node-00": sound("node-00", pair, offboarded=("node-02",))}
    (remark,) = neighbours.strangers(one, known)
    assert remark.startswith("lb-01 sends requests to node-02, node-77 too")
    assert neighbours.strangers({"node-00": sound("node-00", pair)}, BALANCERS) == []
    # A node that was taken out does not know the fleet.
    assert neighbours.strangers({"node-02": sound("node-02", pair, offboarded=("node-02",))}, known) == []


def test_a_bare_node_is_one_fault(pair: Pair) -> None:
    found = sound("node-00", pair)
    found["seen"].update(texts={}, listeners=[], answers={}, peers=[], schema={}, disks={})
    found["seen"]["links"]["/opt/panda"] = {"there": False, "target": "", "leads": False}
    for like in found["seen"]["units"].values():
        like.update(load="not-found", active="inactive", enabled="")
    node = judged(found, [change("Create the group", "zp"), change("Install the packages of EL", "httpd")])
    assert named(node) == [("state", "node-00")]
    assert "is not provisioned" in node.faults[0].what
    assert node.cells["state"] == "bare"


def test_a_node_without_systemd_does_not_break_the_report(pair: Pair) -> None:
    found = sound("node-00", pair)
    found["seen"].update(systemd=False, units={}, listeners=[], answers={}, schema={}, served={"pem": "", "error": "x"})
    assert ("units", "systemd") in named(judged(found))


def test_a_node_that_was_taken_out_of_the_fleet_is_shown_and_not_judged(pair: Pair) -> None:
    found = sound("node-01", pair, offboarded=("node-01",))
    unit("squid.service", active="inactive")(found["seen"])
    node = judged(found)
    assert node.faults == []
    assert (node.cells["state"], node.cells["units"]) == ("offboarded", "7/8")
    remaining = judged(sound("node-00", pair, offboarded=("node-01",)))
    assert (remaining.faults, remaining.cells["squid"]) == ([], "1/1")


def test_drift_names_the_task_the_path_and_what_follows(pair: Pair) -> None:
    changes = [
        change("Write the configuration of httpd", "/etc/panda/panda_server-httpd.conf"),
        change("Reload panda_httpd", "panda_httpd.service", handler=True),
    ]
    node = judged(sound("node-00", pair), changes)
    assert named(node) == [("drift", "site.yml")]
    assert node.cells["drift"] == "1"
    assert node.faults[0].what == (
        "would change 'Write the configuration of httpd' (/etc/panda/panda_server-httpd.conf); "
        "and then 'Reload panda_httpd' (panda_httpd.service)"
    )
    assert "ansible-playbook site.yml -l node-00 --check --diff" in node.faults[0].remedy


@pytest.mark.parametrize(
    ("which", "would"),
    [
        ("stopped unit", change("Enable and start children", "panda_daemon.service")),
        ("wrong release", change("Switch to the release", "/opt/panda")),
        ("sibling that is missing", change("Write the configuration of squid", "/etc/squid/squid.conf")),
        ("no chain", change("Put the certificate and its key in place", tags=("panda_server_certificates",))),
        (
            "no certificate",
            change("Refuse bad input", state="failed", faults=(f"{CERTIFICATE}: no such file on the node",)),
        ),
    ],
)
def test_what_site_yml_would_mend_of_a_fault_is_not_a_second_one(pair: Pair, which: str, would: dict[str, Any]) -> None:
    found = sound("node-00", pair)
    FAULTS[which][0](found["seen"])
    assert len(named(judged(found, [would]))) == 1
    more = change("Write the configuration of httpd", "/etc/panda/panda_server-httpd.conf")
    node = judged(found, [would, more])
    assert named(node)[1:] == [("drift", "site.yml")]
    assert would["task"] not in node.faults[1].what


def test_a_refusal_of_site_yml_that_nothing_else_names_is_a_fault(pair: Pair) -> None:
    refused = change("Refuse bad input", state="failed", faults=("puppet.service: is enabled",))
    node = judged(sound("node-00", pair), [refused])
    assert named(node) == [("drift", "site.yml")]
    assert node.faults[0].what == "--check stops at 'Refuse bad input': puppet.service: is enabled"
    assert node.cells["drift"] == "refused"


def test_drift_that_was_not_looked_at_is_neither_sound_nor_a_fault(pair: Pair) -> None:
    node = judged(sound("node-00", pair), None)
    assert (node.faults, node.cells["drift"]) == ([], model.NOT_SEEN)


def test_a_certificate_is_judged_by_the_clock_of_the_node(pair: Pair) -> None:
    found = sound("node-00", pair)
    ahead = 89 * 86400.0
    for key in ("begun", "ended", "sent", "received"):
        found["seen"][key] = time.time() + ahead
    assert judged(found).cells["cert"] == "0 d"
