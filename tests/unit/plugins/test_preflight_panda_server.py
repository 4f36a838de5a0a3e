"""What the role panda_server refuses, and that everything is refused in one report, by the real action."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.panda.provision.plugins.action import preflight
from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import panda_server

from .conftest import ROOT, MakePair, RunModule

SERVICE = "pandaserver.cern.ch"
CERTIFICATE, KEY, CHAIN = (f"/etc/grid-security/{name}.pem" for name in ("hostcert", "hostkey", "chain"))
DEFAULTS: dict[str, Any] = {
    **yaml.safe_load((ROOT / "roles/panda_server/defaults/main.yml").read_text()),
    "panda_server_dbname": "/var/lib/panda/panda.db",
    "panda_server_schema_manage": True,
    "panda_server_schema_prefix": "DOMA",
    "panda_server_adder_plugins": "",
    "panda_server_cache_dir": "/var/log/panda/pandacache",
    "panda_server_daemon_jobs": {},
    "panda_server_setupper_plugins": "",
    "panda_server_demo_ca": "/demo",
}
POSTGRES: dict[str, Any] = {
    "panda_server_backend": "postgres",
    "panda_server_dbhost": "db.cern.ch",
    "panda_server_dbuser": "panda",
    "panda_server_dbpasswd": "secret",
    "panda_server_dbname": "panda_db",
}
ALMALINUX = {"ID": "almalinux", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "9.6", "PRETTY_NAME": "AlmaLinux 9.6"}
DEBIAN = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}


@pytest.fixture
def node(make_pair: MakePair) -> dict[str, Any]:
    """Return what the module preflight tells of a sound, bare node."""
    pem = make_pair(SERVICE).certificate
    return {
        "os": ALMALINUX,
        "machine": "x86_64",
        "time": time.time(),
        "systemd": True,
        "listeners": [{"protocol": "tcp", "port": 22, "pid": 7, "process": "sshd", "unit": "sshd.service"}],
        "paths": {CERTIFICATE: "file", KEY: "file", "/opt/panda": ""},
        "globs": {"/etc/grid-security/certificates/*.0": []},
        "texts": {CERTIFICATE: pem, CHAIN: pem},
        "links": {},
        "connections": {"db.cern.ch:5432": ""},
        "key_pairs": {CERTIFICATE: ""},
        "units": {"panda.service": {"load": "not-found", "enabled": "", "active": "inactive"}},
        "starting": {},
        "puppet": [],
        "records": {},
        "owners": {"/tmp/proxies": ""},
    }


def faults(node: dict[str, Any], **variables: Any) -> list[str]:
    return panda_server.faults({**DEFAULTS, **variables}, node)


def test_a_sound_node_has_no_fault(node: dict[str, Any]) -> None:
    assert faults(node) == []
    assert faults(node, **POSTGRES) == []
    assert faults({**node, "os": DEBIAN}) == []


def test_a_node_that_runs_the_role_already_has_no_fault(node: dict[str, Any]) -> None:
    ours = {"protocol": "tcp", "pid": 9, "process": "httpd", "unit": "panda_httpd.service"}
    node["listeners"] += [{**ours, "port": 25080}, {**ours, "port": 25443}]
    node["paths"]["/opt/panda"] = "link"
    for target in ("panda.releases/1.0.0-x", "/opt/panda.releases/1.0.0-x"):
        node["links"]["/opt/panda"] = target
        assert faults(node) == []


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (
            {"os": {**ALMALINUX, "VERSION_ID": "8.10", "PRETTY_NAME": "AlmaLinux 8.10"}},
            "AlmaLinux 8.10 is not supported",
        ),
        ({"os": {**DEBIAN, "VERSION_ID": "13", "PRETTY_NAME": "Debian 13"}}, "Debian 13 is not supported"),
        (
            {"os": {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Ubuntu 12"}},
            "Ubuntu 12 is not",
        ),
        ({"os": {}}, "this operating system is not supported"),
        ({"machine": "aarch64"}, "aarch64 is not supported"),
        ({"systemd": False}, "systemd does not run here"),
    ],
)
def test_an_unsupported_system_is_refused(node: dict[str, Any], seen: dict[str, Any], fault: str) -> None:
    (found,) = faults({**node, **seen})
    assert fault in found


@pytest.mark.parametrize("path", [CERTIFICATE, KEY, CHAIN])
def test_a_missing_certificate_file_is_named(node: dict[str, Any], path: str) -> None:
    node["texts"].pop(path, None)
    node["paths"][path] = ""
    (fault,) = faults(node)
    assert fault.startswith(f"{path}: no such file on the node")


def test_each_fault_of_a_certificate_is_told(node: dict[str, Any], make_pair: MakePair) -> None:
    node["texts"][CERTIFICATE] = make_pair("other.cern.ch", valid_from=-9, valid_to=-2).certificate
    node["key_pairs"][CERTIFICATE] = "it belongs to another certificate"
    node["texts"][CHAIN] = "nothing"
    found = faults(node)
    assert found[0].startswith(f"{CERTIFICATE} on the node: expired on ")
    assert found[1].startswith(f"{CERTIFICATE} on the node: is not valid for {SERVICE}, only for other.cern.ch")
    assert found[2] == f"{KEY} on the node: does not fit {CERTIFICATE}: it belongs to another certificate"
    assert found[3] == f"{CHAIN} on the node: is not a certificate in PEM form"
    assert len(found) == 4


def test_what_is_no_certificate_is_told_once(node: dict[str, Any]) -> None:
    node["texts"][CERTIFICATE] = "DER, perhaps"
    node["key_pairs"][CERTIFICATE] = "one of the two is not in PEM form, or the key has a passphrase"
    (fault,) = faults(node)
    assert f"{CERTIFICATE} on the node: is not a certificate in PEM form" in fault


def test_the_nodes_clock_decides_whether_a_certificate_has_expired(node: dict[str, Any]) -> None:
    node["time"] += 40 * 86400
    (fault,) = faults(node)
    assert "expired on" in fault


def test_the_dates_of_the_chain_count_too(node: dict[str, Any], make_pair: MakePair, tmp_path: Path) -> None:
    authority = make_pair(valid_from=-30, valid_to=-2)
    pair = make_pair(SERVICE, signer=authority)
    node["texts"] |= {CERTIFICATE: pair.certificate, CHAIN: authority.certificate}
    (fault,) = faults(node)
    assert f"{CHAIN} on the node: holds CN=pandaserver.cern.ch, which expired on " in fault
    texts = {"hostcert": pair.certificate, "hostkey": pair.key, "chain": authority.certificate}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    sources = {f"panda_server_{name}_src": str(tmp_path / name) for name in texts}
    (fault,) = faults(node, panda_server_certificate_source="provided", **sources)
    assert f"{tmp_path}/chain (panda_server_chain_src): holds CN=pandaserver.cern.ch, which expired on " in fault


def test_a_node_on_which_nobody_can_authenticate_is_set_up_with_a_warning(node: dict[str, Any]) -> None:
    def said(**given: Any) -> list[str]:
        return panda_server.warnings({**DEFAULTS, **given}, node)

    assert faults(node) == []
    (warning,) = said()
    assert warning.startswith(
        "nobody can authenticate: /etc/grid-security/certificates (panda_server_ca_certificates) "
    )
    assert said(panda_server_token_auth_type="oidc") == []
    assert said(panda_server_certificate_source="demo_ca") == said(panda_server_cache_only=True) == []
    node["globs"]["/etc/grid-security/certificates/*.0"] = ["/etc/grid-security/certificates/a.0"]
    assert said() == []


def test_provided_files_are_judged_on_the_control_machine(
    node: dict[str, Any], make_pair: MakePair, tmp_path: Path
) -> None:
    pair, other = make_pair(SERVICE), make_pair(SERVICE)
    texts = {
        "cert": pair.certificate,
        "key": pair.key,
        "other": other.key,
        "locked": pair.protected_key(),
        "der": "\0\xff",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="latin-1")

    def provided(cert: str, key: str, chain: str) -> list[str]:
        names = {"hostcert": cert, "hostkey": key, "chain": chain}
        sources = {f"panda_server_{name}_src": str(tmp_path / file) for name, file in names.items()}
        return faults(node, panda_server_certificate_source="provided", **sources)

    assert provided("cert", "key", "cert") == []
    assert "(panda_server_hostkey_src): belongs to another certificate" in provided("cert", "other", "cert")[0]
    assert "(panda_server_hostkey_src): is not a key in PEM form without" in provided("cert", "locked", "cert")[0]
    assert "(panda_server_chain_src): is not a certificate in PEM form" in provided("cert", "key", "key")[0]
    assert "(panda_server_hostcert_src): is not a certificate in PEM form" in provided("der", "key", "cert")[0]
    missing = provided("none", "none", "none")
    assert [fault.partition(":")[0] for fault in missing] == [
        f"panda_server_{name}_src" for name in ("hostcert", "hostkey", "chain")
    ]
    assert "No such file" in missing[0]


def test_a_certificate_that_is_to_be_provided_has_to_be_named(node: dict[str, Any]) -> None:
    found = faults(node, panda_server_certificate_source="provided")
    assert len(found) == 3
    assert "panda_server_hostcert_src: '' is not an absolute path" in found[0]


def test_a_demonstration_needs_no_certificate_on_the_node(node: dict[str, Any]) -> None:
    node.update(texts={}, paths={})
    assert faults(node, panda_server_certificate_source="demo_ca") == []


@pytest.mark.parametrize("variable", ["panda_server_dbhost", "panda_server_dbuser", "panda_server_dbpasswd"])
def test_a_database_server_needs_host_user_and_password(node: dict[str, Any], variable: str) -> None:
    (fault,) = faults(node, **{**POSTGRES, variable: ""})
    assert fault == f"{variable}: is empty, and the backend postgres needs it"


def test_a_cache_node_needs_no_database(node: dict[str, Any]) -> None:
    cache = {**POSTGRES, "panda_server_cache_only": True, "panda_server_dbhost": "", "panda_server_dbpasswd": ""}
    assert faults(node, **cache) == []
    assert "connect" not in panda_server.look({**DEFAULTS, **POSTGRES, "panda_server_cache_only": True})


def test_a_database_that_does_not_answer_is_named_with_the_reason(node: dict[str, Any]) -> None:
    node["connections"]["db.cern.ch:5432"] = "Connection refused"
    (fault,) = faults(node, **POSTGRES)
    assert "the database at db.cern.ch:5432" in fault
    assert "Connection refused" in fault
    assert "secret" not in fault


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        (POSTGRES, "db.cern.ch:5432"),
        ({**POSTGRES, "panda_server_dbport": 6000}, "db.cern.ch:6000"),
        ({**POSTGRES, "panda_server_backend": "mysql"}, "db.cern.ch:3306"),
        ({**POSTGRES, "panda_server_backend": "oracle"}, "db.cern.ch:1521"),
        ({**POSTGRES, "panda_server_backend": "oracle", "panda_server_dbhost": "ADCR"}, None),
        ({**POSTGRES, "panda_server_dbhost": ""}, None),
        ({}, None),
    ],
)
def test_the_node_is_asked_to_reach_the_database_that_is_configured(
    variables: dict[str, Any], address: str | None
) -> None:
    assert panda_server.look({**DEFAULTS, **variables}).get("connect") == ([address] if address else None)


@pytest.mark.parametrize("port", ["panda_server_port", "panda_server_port_ssl"])
def test_whoever_holds_a_port_is_named(node: dict[str, Any], port: str) -> None:
    node["listeners"].append(
        {"protocol": "tcp", "port": DEFAULTS[port], "pid": 4711, "process": "nginx", "unit": "nginx.service"}
    )
    (fault,) = faults(node)
    assert fault == (
        f"port {DEFAULTS[port]}/tcp ({port}) is taken by nginx (process 4711, nginx.service): "
        "stop it or choose another port"
    )


@pytest.mark.parametrize(
    "path",
    ["/usr/etc/panda/panda_server.cfg", "/data/atlpan/etc/panda/panda_common.cfg",
     "/data/atlpan/usr/etc/panda/panda_server.cfg"],
)  # fmt: skip
def test_a_cfg_file_that_overrides_ours_is_named(node: dict[str, Any], path: str) -> None:
    assert path in panda_server.look(DEFAULTS)["paths"]
    node["paths"][path] = "file"
    (fault,) = faults(node)
    assert fault.startswith(f"{path}: overrides /etc/panda/{Path(path).name}")


def test_a_folder_in_place_of_the_link_to_the_release_is_refused(node: dict[str, Any]) -> None:
    node["paths"]["/opt/panda"] = "directory"
    (fault,) = faults(node)
    assert "mv /opt/panda /opt/panda.old" in fault


def test_puppet_is_refused_where_it_would_undo_our_work(node: dict[str, Any]) -> None:
    node["puppet"] = ["puppet.service is active (systemctl disable --now puppet.service)"]
    (fault,) = faults(node)
    assert fault.startswith("Puppet would undo what this role writes: puppet.service is active (systemctl disable")


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("data/panda-venv", "/opt/data/panda-venv"),
        ("/data/panda-venv", "/data/panda-venv"),
        ("panda.releases", "/opt/panda.releases"),
        ("../opt/panda.releases/x/y", "/opt/panda.releases/x/y"),
    ],
)
def test_a_link_out_of_the_releases_is_not_replaced(node: dict[str, Any], target: str, place: str) -> None:
    node["paths"]["/opt/panda"], node["links"]["/opt/panda"] = "link", target
    (fault,) = faults(node)
    assert fault.startswith(f"/opt/panda (panda_server_prefix): is a link to {place}, which is no release in ")
    assert "playbooks/adopt.yml" in fault


def test_a_taking_over_that_was_cut_off_is_completed_first(node: dict[str, Any]) -> None:
    """Not recorded, it would be replaced on a node that was not drained."""
    releases = "/opt/panda.releases"
    node["texts"][f"{releases}/adopted-1.0.2/release.json"] = "{}"
    (fault,) = faults(node)
    assert fault.startswith(f"{releases}/adopted-1.0.2: its taking over was cut off")
    node["paths"]["/opt/panda"], node["links"]["/opt/panda"] = "link", "panda.releases/adopted-1.0.2"
    (fault,) = faults(node)
    assert fault.startswith(f"{releases}/adopted-1.0.2: its taking over was cut off")
    for known in ({"good": ["adopted-1.0.2"]}, {"good": [], "bad": {"adopted-1.0.2": "not alive"}}):
        node["records"][f"{releases}/releases.json"] = known
        assert faults(node) == []
    node["links"]["/opt/panda"] = "panda.releases/1.0.4-x"
    assert faults(node) == []


def test_a_server_of_another_installation_may_not_come_back_at_the_next_boot(node: dict[str, Any]) -> None:
    assert "httpd-pandasrv.service" in panda_server.look(DEFAULTS)["starting"]
    node["starting"] = {"httpd-pandasrv.service": "wanted by multi-user.target"}
    (fault,) = faults(node)
    assert fault.startswith("httpd-pandasrv.service: is wanted by multi-user.target: it has the node's ports, or takes")
    assert "(systemctl disable --now httpd-pandasrv.service)" in fault


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"panda_server_user": "Atl Pan"}, "panda_server_user: 'Atl Pan' is not a name of an account"),
        ({"panda_server_user": "root"}, "panda_server_user: is root"),
        ({"panda_server_group": "1zp"}, "panda_server_group: '1zp' is not a name of an account"),
        ({"panda_server_pserveralias": "panda server"}, "panda_server_pserveralias: 'panda server' is not a host name"),
        ({"panda_server_loghost": ""}, "panda_server_loghost: '' is not a host name"),
        ({"panda_server_logdir": "var/log/panda"}, "panda_server_logdir: 'var/log/panda' is not an absolute path"),
        ({"panda_server_home": "/data/my home"}, "panda_server_home: '/data/my home' is not an absolute path"),
        ({"panda_server_prefix": "/opt/%n"}, "panda_server_prefix: '/opt/%n' is not an absolute path"),
        ({"panda_server_dbname": "panda.db"}, "panda_server_dbname: 'panda.db' is not an absolute path"),
        ({"panda_server_dbuser": "a\nb = c"}, "panda_server_dbuser: holds a line break"),
        ({"panda_server_dbpasswd": "one\ntwo"}, "panda_server_dbpasswd: holds a line break"),
        ({"panda_server_dbpasswd": "one\rtwo"}, "panda_server_dbpasswd: holds a line break"),
        ({"panda_server_environment": {"A": "1\n2"}}, "panda_server_environment: 'A' is not a name that can"),
        ({"panda_server_environment": {"A-B": "1"}}, "panda_server_environment: 'A-B' is not a name that can"),
        ({"panda_server_secrets": {"A": "1\n2"}}, "panda_server_secrets: 'A' is not a name that can"),
        ({"panda_server_secrets": {"A B": "1"}}, "panda_server_secrets: 'A B' is not a name that can"),
        (
            {"panda_server_secrets": {"PANDA_DB_PASSWORD": "1"}},
            "panda_server_secrets: PANDA_DB_PASSWORD is panda_server_db",
        ),
        ({"panda_server_config": {"key": "1\n[x]"}}, "panda_server_config: 'key' is not a name that can"),
        ({"panda_server_config": {"a = b": "1"}}, "panda_server_config: 'a = b' is not a name that can"),
        ({"panda_server_monitoring_clients": ["all"]}, "panda_server_monitoring_clients: 'all' is not an address"),
        ({"panda_server_production_fqans": ["/a/Role=b"]}, "panda_server_production_fqans: nothing reads FQANs"),
        (
            {"panda_server_production_fqans": ["/a/Role=b, /c"], "panda_server_gridsite": True},
            "panda_server_production_fqans: '/a/Role=b, /c' is not an FQAN",
        ),
        (
            {"panda_server_gridsite": True, "panda_server_revocation": "known"},
            "panda_server_revocation: with panda_server_gridsite httpd refuses everybody",
        ),
        ({"panda_server_num_wsgi": 0}, "panda_server_num_wsgi: is 0, and has to be at least 1"),
        ({"panda_server_port": 80}, "panda_server_port: is 80, and has to be from 1024 to 65535"),
        ({"panda_server_port": 25443}, "panda_server_port, panda_server_port_ssl: are the same port"),
        ({"panda_server_max_workers": 100}, "panda_server_max_workers: 100 is not a multiple of"),
        ({"panda_server_wheelhouse": "/no/such.tar"}, "panda_server_wheelhouse: /no/such.tar: no such file"),
    ],
)
def test_a_value_that_cannot_work_is_refused(node: dict[str, Any], variables: dict[str, Any], fault: str) -> None:
    (found,) = faults(node, **variables)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("variable", "path", "place"),
    [
        ("panda_server_auth_config", "/opt/panda/etc/panda/auth", "/etc/panda/auth"),
        ("panda_server_auth_config", "/opt/panda", "/etc/panda/auth"),
        ("panda_server_logdir", "/opt/panda.releases/log", "/var/log/panda"),
        ("panda_server_cache_dir", "/opt/panda/cache", "/var/log/panda/pandacache"),
        ("panda_server_hostkey", "/opt/panda/hostkey.pem", "/etc/grid-security"),
        ("panda_server_dbname", "/opt/panda/panda.db", "/var/lib/panda"),
        ("panda_server_releases", "/opt/panda/releases", "/opt/panda.releases"),
    ],
)
def test_what_an_upgrade_would_replace_is_refused_with_a_place_that_stays(
    node: dict[str, Any], variable: str, path: str, place: str
) -> None:
    given = {"panda_server_certificate_source": "demo_ca", variable: path}
    (fault,) = faults(node, **given)
    assert fault.startswith(f"{variable}: {path} is ")
    assert f" {place} for example" in fault
    assert faults(node, **{**given, variable: f"/opt/panda-{variable}"}) == []


@pytest.mark.parametrize(
    ("payload", "name", "remedy"),
    [
        ("bundled", "dbport", "set panda_server_dbport"),
        ("bundled", "cache_dir", "set panda_server_cache_dir"),
        ("bundled", "schedconfig_cache_dir", "set panda_server_schedconfig_cache_dir"),
        ("bundled", "production_dns", "set panda_server_production_dns"),
        ("bundled", "nDBConForFastCGIWSGI", "set panda_server_ndbconnection"),
        ("bundled", "auth_policies", "set panda_server_auth_policies"),
        ("panda-server", "pserverport", "put it into panda_server_overlay, as {server: {pserverport: ...}}"),
        ("panda-server", "schemaPANDA", "put it into panda_server_overlay, as {server: {schemaPANDA: ...}}"),
    ],
)
def test_a_parameter_that_the_role_writes_is_refused_a_second_time(
    node: dict[str, Any], payload: str, name: str, remedy: str
) -> None:
    given = PACKAGE if payload == "panda-server" else {}
    (fault,) = faults(node, **given, panda_server_config={name: "1"})
    assert fault == (
        f"panda_server_config: {name}: would stand twice in panda_server.cfg, which has it already: {remedy}"
    )


def test_parameters_that_the_role_does_not_write_are_taken(node: dict[str, Any]) -> None:
    assert faults(node, panda_server_config={"schemaPANDA": "X", "keyDir": "/k", "sandboxHostname": "$HOST"}) == []
    assert faults(node, **PACKAGE, panda_server_config={"keyDir": "/k", "emailSMTPsrv": "mail"}) == []
    assert faults(node, panda_server_overlay={"server": {"dbtimeout": 60, "pserverport": "443"}}) == []


def test_a_reference_in_place_of_a_variable_that_the_node_goes_by_is_refused(node: dict[str, Any]) -> None:
    server = {"dbhost": "${PANDA_DB_HOST}", "dbpasswd": "$PANDA_DB_PASSWORD", "CRIC_URL_CM": "$PANDA_CRIC_CM"}
    assert faults(node, **POSTGRES, panda_server_overlay={"server": server, "daemon": {"n_proc": "$N"}}) == [
        "panda_server_overlay: server: dbhost: is $PANDA_DB_HOST, and the rest of the node goes by panda_server_dbhost"
        ": set that, and leave it out here",
        "panda_server_overlay: daemon: n_proc: is $N, and the rest of the node goes by panda_server_daemon_n_proc: set "
        "that, and leave it out here",
    ]


@pytest.mark.parametrize("name", ["cache_dir", "schedconfig_cache_dir", "auth_config", "logdir"])
def test_a_folder_that_only_the_application_would_move_to_is_refused(node: dict[str, Any], name: str) -> None:
    (fault,) = faults(node, panda_server_overlay={"server": {name: "/srv/panda"}})
    assert fault.startswith(f"panda_server_overlay: server: {name}: the rest of the node would go on using /")
    assert f": set panda_server_{name} instead" in fault


@pytest.mark.parametrize(
    ("variable", "folder", "shown"),
    [
        ("panda_server_cache_dir", "/var/log/panda", "the logs (panda_server_logdir) to everybody"),
        ("panda_server_schedconfig_cache_dir", "/data", "the home of the services (panda_server_home) to everybody"),
        ("panda_server_auth_config", "/etc/panda", "the configuration to everybody, which /etc/panda holds"),
    ],
)
def test_a_folder_that_shows_what_nobody_may_see_is_refused(
    node: dict[str, Any], variable: str, folder: str, shown: str
) -> None:
    (fault,) = faults(node, **{variable: folder})
    assert fault.startswith(f"{variable}: httpd would show {shown}")


def test_a_cache_of_the_sites_own_is_taken(node: dict[str, Any]) -> None:
    cache = {"panda_server_cache_dir": "/srv/panda/cache", "panda_server_logdir": "/srv/panda/log"}
    assert faults(node, **cache, panda_server_schedconfig_cache_dir="/srv/panda/cache/schedconfig") == []


def test_a_slash_at_the_end_of_a_path_is_named(node: dict[str, Any]) -> None:
    (fault,) = faults(node, panda_server_auth_config="/etc/panda/auth/")
    assert fault.endswith("without a slash at the end")


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("panda_server_config: emailPass", {"panda_server_config": {"emailPass": "s3cret"}}),
        ("panda_server_config: ei_dbpasswd", {"panda_server_config": {"ei_dbpasswd": "$s3cret!"}}),
        ("panda_server_overlay: server: X_SECRET", {"panda_server_overlay": {"server": {"X_SECRET": "s3cret"}}}),
        ("panda_server_jedi_config: mq: passcode", {"panda_server_jedi_config": {"mq": {"passcode": 53}}}),
        ("panda_server_environment: MAIL_TOKEN", {"panda_server_environment": {"MAIL_TOKEN": "s3cret"}}),
    ],
)
def test_a_secret_that_everybody_could_read_is_refused(
    node: dict[str, Any], place: str, content: dict[str, Any]
) -> None:
    (fault,) = faults(node, **content)
    assert fault.startswith(f"{place}: is a secret, and the file is readable: ")
    assert "panda_server_secrets" in fault
    assert "s3cret" not in fault


def test_a_secret_that_is_referred_to_has_to_be_there(node: dict[str, Any]) -> None:
    given = {
        "panda_server_config": {
            "emailPass": "$MAIL",
            "token_kind": "oidc",
            "pilot_secrets": "name",
            "x_pass": "none",
        },
        "panda_server_overlay": {"server": {"emailPass": "${MAIL}", "bypass": "x", "a_secret": ""}},
        "panda_server_jedi_config": {"db": {"dbpasswd": "$PANDA_DB_PASSWORD"}},
    }
    assert faults(node, **POSTGRES, **given, panda_server_secrets={"MAIL": "x"}) == []
    assert faults(node, **POSTGRES, **given) == [
        "panda_server_config: emailPass: refers to $MAIL, which panda_server_secrets does not have",
        "panda_server_overlay: server: emailPass: refers to $MAIL, which panda_server_secrets does not have",
    ]


ORGANISATION = {
    "audience": "https://panda.example",
    "client_id": "panda",
    "oidc_config_url": "https://iam.example/.well-known/openid-configuration",
    "vo": "test",
}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("te st", ORGANISATION, "te st: is not an organisation (vo), nor one with a role (vo.role)"),
        ("test", {**ORGANISATION, "client_secret": "hidden"}, "test: client_secret would be served to everybody"),
        (
            "test",
            {**ORGANISATION, "oidc_config_url": "http://iam.example"},
            "test: oidc_config_url does not begin",
        ),
        ("test", {"audience": "a", "vo": "test"}, "test: lacks client_id, oidc_config_url"),
        ("test", "https://iam.example", "test: has to be a dictionary of what its file holds"),
    ],
)
def test_an_organisation_whose_tokens_would_not_be_safe_or_not_be_taken_is_refused(
    node: dict[str, Any], name: str, content: object, fault: str
) -> None:
    given = {"panda_server_token_auth_type": "oidc", "panda_server_auth_organisations": {name: content}}
    (found,) = faults(node, **given)
    assert found.startswith(f"panda_server_auth_organisations: {fault}")
    assert "hidden" not in found


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('{"client_secret": "s3cret", "vo": "test"}', True),
        ('{"client_secret": null, "vo": "test"}', False),
        ('{"client_secret": "s3cr', False),
        ("[]", False),
    ],
)
def test_a_client_secret_in_a_file_that_httpd_serves_is_a_fault(node: dict[str, Any], text: str, refused: bool) -> None:
    path = "/etc/panda/auth/test_auth_config.json"
    assert "/etc/panda/auth/*_auth_config.json" in panda_server.look(DEFAULTS)["texts"]
    node["texts"][path] = text
    found = faults(node)
    assert len(found) == refused
    assert all(fault.startswith(f"{path} on the node: holds a client_secret") for fault in found)
    assert "s3cret" not in " ".join(found)


def test_organisations_without_tokens_are_refused(node: dict[str, Any]) -> None:
    organisations = {"test": ORGANISATION, "vo.example.eu:production": ORGANISATION}
    (found,) = faults(node, panda_server_auth_organisations=organisations)
    assert found.startswith("panda_server_token_auth_type: is x509")
    assert faults(node, panda_server_token_auth_type="oidc", panda_server_auth_organisations=organisations) == []


def test_odd_but_legal_values_are_taken(node: dict[str, Any]) -> None:
    assert (
        faults(
            node,
            **{
                **POSTGRES,
                "panda_server_user": "_panda-1",
                "panda_server_group": "z_p-2",
                "panda_server_dbuser": "panda@atlas %1",
                "panda_server_dbpasswd": "a \"b\" 'c' $d `e` \\f %g\tü",
                "panda_server_home": "/data/atlpan.d/x+y@z",
                "panda_server_environment": {"_A1": '"$x" \\ y', "B": 2},
                "panda_server_config": {"a.b-c": "100%", "n": None},
                "panda_server_monitoring_clients": ["192.0.2.7", "198.51.100.0/24", "2001:db8::/32"],
            },
        )
        == []
    )


def test_the_password_is_never_part_of_a_fault(node: dict[str, Any]) -> None:
    node["connections"]["db.cern.ch:5432"] = "refused"
    found = faults(node, **{**POSTGRES, "panda_server_dbpasswd": "s3cret\n"})
    assert len(found) == 2
    assert "s3cret" not in " ".join(found)


# What the module sees --------------------------------------------------------------------------------------------


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def own_name() -> str:
    """The name of this process, as the kernel knows it."""
    return Path("/proc/self/comm").read_text().strip()


def test_the_module_sees_the_node_as_it_is(
    run_module: RunModule, make_pair: MakePair, tmp_path: Path, taken_port: int, closed_port: int
) -> None:
    one, other = make_pair(SERVICE), make_pair(SERVICE)
    texts = {"cert": one.certificate, "key": one.key, "other": other.key, "locked": one.protected_key(), "r.json": "{"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to("nowhere")
    here = {name: f"{tmp_path}/{name}" for name in (*texts, "link", "none")}
    # A certificate answers once, so each key is tried with a link to it.
    for name in ("key", "other", "locked", "none"):
        (tmp_path / f"cert-{name}").symlink_to("cert")
    look = {
        "paths": [*here.values(), str(tmp_path)],
        "texts": [f"{tmp_path}/ce*"],
        "globs": [f"{tmp_path}/l*"],
        "connect": [f"127.0.0.1:{taken_port}", f"127.0.0.1:{closed_port}", "no.such.host.invalid:1"],
        "key_pairs": [[f"{tmp_path}/cert-{name}", here[name]] for name in ("key", "other", "locked", "none")],
        "records": [here["r.json"], here["none"]],
        "packages": ["bash", "no-such-package"],
    }
    answer = run_module("preflight", {"roles": ["panda_server"], "look": look}, check=True)
    assert not answer["changed"]
    node = answer["node"]
    assert {"pid": os.getpid(), "process": own_name(), "protocol": "tcp", "port": taken_port}.items() <= next(
        listener for listener in node["listeners"] if listener["port"] == taken_port
    ).items()
    kinds = {path.removeprefix(f"{tmp_path}/"): kind for path, kind in node["paths"].items()}
    assert (kinds["cert"], kinds["link"], kinds["none"], node["paths"][str(tmp_path)]) == (
        "file",
        "link",
        "",
        "directory",
    )
    assert node["links"] == {here["link"]: "nowhere"}
    assert node["texts"][here["cert"]] == one.certificate
    assert here["key"] not in node["texts"]
    assert node["globs"] == {f"{tmp_path}/l*": [here["link"], here["locked"]]}
    assert list(node["connections"].values())[:2] == ["", "Connection refused"]
    assert node["connections"]["no.such.host.invalid:1"]
    assert list(node["key_pairs"].values()) == [
        "",
        "it belongs to another certificate",
        "one of the two is not in PEM form, or the key has a passphrase",
        "No such file or directory",
    ]
    assert node["packages"] == ["bash"]
    assert node["records"] == {here["r.json"]: None, here["none"]: None}


def test_variables_that_lie_where_nothing_reads_them_are_named_with_the_place_for_them(tmp_path: Path) -> None:
    elsewhere = [str(tmp_path / "inventory"), str(tmp_path / "playbooks")]
    for folder in elsewhere:
        Path(folder).mkdir()
    assert preflight.unread(tmp_path, elsewhere) == []
    (tmp_path / "host_vars").mkdir()
    (fault,) = preflight.unread(tmp_path, elsewhere)
    assert fault.startswith(f"{tmp_path}/host_vars: nothing reads it")
    assert fault.endswith("move it to inventories/production/host_vars")
    for beside in (tmp_path / "hosts.yml", tmp_path):
        assert preflight.unread(tmp_path, [*elsewhere, str(beside)]) == []


# The whole, as a person meets it ---------------------------------------------------------------------------------


class Report:
    """What a playbook says of a host with these variables."""

    def __init__(self, folder: Path, variables: dict[str, Any], playbook: str = "site.yml") -> None:
        inventory = folder / "hosts.yml"
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        inventory.write_text(yaml.safe_dump({"panda_servers": {"hosts": {"node-1": host}}}))
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), playbook],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.code, self.text = done.returncode, done.stdout + done.stderr
        rest = self.text.partition("To mend first (")[2]
        self.count = int(re.match(r"\d+", rest)[0]) if rest else 0
        self.faults = re.findall(r"^ +\d+\. (.+)$", rest, re.MULTILINE)[: self.count]

    def has(self, *words: str) -> bool:
        """Whether exactly one fault holds all these words."""
        return len([fault for fault in self.faults if all(word in fault for word in words)]) == 1


def test_everything_wrong_is_in_one_report_and_nothing_was_changed(
    make_pair: MakePair, tmp_path: Path, taken_port: int, closed_port: int
) -> None:
    pair, other = make_pair("other.cern.ch", valid_from=-9, valid_to=-2), make_pair(SERVICE)
    (tmp_path / "hostcert.pem").write_text(pair.certificate)
    (tmp_path / "hostkey.pem").write_text(other.key)
    stale = tmp_path / "home/etc/panda/panda_server.cfg"
    stale.parent.mkdir(parents=True)
    stale.write_text("[server]\n")
    (tmp_path / "wheelhouse.tar").write_text("damaged")
    (tmp_path / "wheelhouse.tar.sha256").write_text("0" * 64)
    before = sorted(tmp_path.rglob("*"))
    report = Report(
        tmp_path,
        {
            "panda_server_num_wsgi": "many",
            "panda_server_poort": 1,
            "panda_server_port": taken_port,
            "panda_server_backend": "postgres",
            "panda_server_dbhost": "127.0.0.1",
            "panda_server_dbport": closed_port,
            "panda_server_dbuser": "panda",
            "panda_server_home": f"{tmp_path}/home",
            "panda_server_hostcert": f"{tmp_path}/hostcert.pem",
            "panda_server_hostkey": f"{tmp_path}/hostkey.pem",
            "panda_server_chain": f"{tmp_path}/chain.pem",
            "panda_server_wheelhouse": f"{tmp_path}/wheelhouse.tar",
            "panda_server_environment": {"A": "two\nlines"},
            "squid_cache_mem": 0,
            "logrotate_rotate": 0,
        },
    )
    assert report.code != 0
    assert report.has("panda_server_num_wsgi: ", "cannot be converted to an int"), report.text
    assert report.has("panda_server_poort: ", "no such variable")
    assert report.has(f"port {taken_port}/tcp", f"{own_name()} (process {os.getpid()},")
    assert report.has("panda_server_dbpasswd: is empty")
    assert report.has(f"the database at 127.0.0.1:{closed_port}", "Connection refused")
    assert report.has(f"{stale}: overrides /etc/panda/panda_server.cfg")
    assert report.has("hostcert.pem on the node: expired on")
    assert report.has(f"hostcert.pem on the node: is not valid for {SERVICE}")
    assert report.has("hostkey.pem on the node: does not fit", "it belongs to another certificate")
    assert report.has("chain.pem: no such file on the node")
    assert report.has("panda_server_wheelhouse: ", "its SHA-256 is ")
    assert report.has("panda_server_environment: 'A'")
    assert report.has("squid_cache_mem: is 0")
    assert report.has("logrotate_rotate: is 0")
    assert "changed=0 " in report.text
    assert report.text.count("TASK [") == 1
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "hosts.yml"])


def test_a_wrong_variable_is_reported_once_and_the_rest_is_judged_without_it(tmp_path: Path) -> None:
    """squid's default port of its origin, and the name of the database, are made of the wrong ones."""
    report = Report(
        tmp_path,
        {
            "panda_server_backend": "mongodb",
            "panda_server_port": "none",
            "panda_server_dbport": "{{ nowhere }}",
            "panda_server_certificate_source": "demo_ca",
            "panda_server_min_workers": 0,
            "panda_server_dbpasswd": "s3\ncret",
        },
    )
    assert report.has("panda_server_backend: ", "sqlite, postgres, oracle, mysql, got: mongodb"), report.text
    assert report.has("panda_server_port: ", "cannot be converted to an int")
    assert report.has("panda_server_dbport: ", "'nowhere' is undefined")
    assert report.has("panda_server_min_workers: is 0")
    assert report.has("panda_server_dbpasswd: holds a line break")
    assert [fault for fault in report.faults if "systemd does not run here" not in fault][5:] == []
    assert "cret" not in report.text


def test_a_database_that_is_away_keeps_no_node_from_a_renewed_certificate(tmp_path: Path, closed_port: int) -> None:
    variables = {
        **POSTGRES,
        "panda_server_dbhost": "127.0.0.1",
        "panda_server_dbport": closed_port,
        "panda_server_poort": 1,
        "panda_server_hostcert": f"{tmp_path}/hostcert.pem",
    }
    site = Report(tmp_path, variables)
    assert site.has(f"the database at 127.0.0.1:{closed_port}"), site.text
    renewal = Report(tmp_path, variables, "playbooks/certificates.yml")
    assert renewal.code != 0
    assert renewal.has("panda_server_poort: ", "no such variable")
    assert renewal.has("hostcert.pem: no such file on the node")
    assert not renewal.has("the database at")


@pytest.mark.parametrize(
    ("family", "status", "needed"),
    [
        ("RedHat", "enabled", ["firewalld", "policycoreutils-python-utils", "squid"]),
        ("RedHat", "disabled", ["firewalld", "squid"]),
        ("Debian", "enabled", ["apache2", "firewalld"]),
    ],
)
def test_under_selinux_on_el_what_its_modules_need_is_installed_with_the_rest(
    family: str, status: str, needed: list[str]
) -> None:
    packages = {"RedHat": ["httpd", "squid"], "Debian": ["apache2"], "SELinux": ["policycoreutils-python-utils"]}
    facts = {"os_family": family, "selinux": {"status": status}}
    seen = {"ansible_facts": facts, "node": {"packages": ["httpd"]}}
    assert preflight.missing(packages, ["firewalld"], seen) == needed


PACKAGE: dict[str, Any] = {
    **POSTGRES,
    "panda_server_payload": "panda-server",
    "panda_server_schema_manage": False,
    "panda_server_schema_prefix": "DOMA",
    "panda_server_adder_plugins": "local:pandaserver.dataservice.adder_dummy_plugin:AdderDummyPlugin",
    "panda_server_setupper_plugins": "",
}


TOKEN_CLIENT: dict[str, Any] = {
    "client_id": "panda",
    "secret": "hidden",
    "endpoint": "https://iam.example/token",
    "use_token_key": True,
}
TOKENS: dict[str, Any] = {
    **PACKAGE,
    "panda_server_daemon_jobs": {"proxyCache": {"module": "panda_activeusers_query", "enable": True}},
    "panda_server_token_cache_clients": {"pilot": TOKEN_CLIENT},
}


def test_clients_of_the_token_cache_are_taken_where_something_fetches_their_tokens(node: dict[str, Any]) -> None:
    assert faults(node, **TOKENS) == []
    assert faults(node, **{**TOKENS, "panda_server_daemon_jobs": {}, "panda_server_jedi_enabled": True}) == []
    # A variable of the whole group.
    cache_node = {"panda_server_cache_only": True, "panda_server_payload": "bundled", "panda_server_daemon_jobs": {}}
    assert not any("token" in fault for fault in faults(node, **{**TOKENS, **cache_node}))


@pytest.mark.parametrize(
    ("client", "fault"),
    [
        ("https://iam.example", "pilot: has to be a dictionary of client_id, secret, endpoint, use_token_key"),
        ({"client_id": "panda", "use_token_key": False}, "pilot: lacks secret, endpoint"),
        ({**TOKEN_CLIENT, "use_token_key": "yes"}, "pilot: use_token_key: has to be true or false"),
        ({**TOKEN_CLIENT, "endpoint": "http://iam.example"}, "pilot: endpoint does not begin with https://"),
        ({**TOKEN_CLIENT, "secret": "$IAM"}, "pilot: secret: the package takes it from no variable here"),
        ({**TOKEN_CLIENT, "token_file_path": "token"}, "pilot: token_file_path: 'token' is not an absolute path"),
        ({**TOKEN_CLIENT, "token_file_path": "/var/trf/user/t"}, "pilot: token_file_path: httpd serves what is in"),
        (
            {**TOKEN_CLIENT, "token_file_path": "/var/log/panda/pandacache/t"},
            "pilot: token_file_path: httpd serves what is in",
        ),
    ],
)
def test_a_client_whose_tokens_would_not_be_fetched_or_be_safe_is_refused(
    node: dict[str, Any], client: object, fault: str
) -> None:
    (found,) = faults(node, **{**TOKENS, "panda_server_token_cache_clients": {"pilot": client}})
    assert found.startswith(f"panda_server_token_cache_clients: {fault}")
    assert "hidden" not in found


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        (
            {"panda_server_token_cache_clients": {"../pilot": TOKEN_CLIENT}},
            "panda_server_token_cache_clients: ../pilot: is no name",
        ),
        ({"panda_server_daemon_jobs": {}}, "panda_server_token_cache_clients: nothing on this node fetches tokens"),
        ({"panda_server_daemon_enabled": False}, "panda_server_token_cache_clients: nothing on this node fetches"),
        (
            {"panda_server_config": {"token_cache_config": "/etc/panda/t.json"}},
            "panda_server_config: token_cache_config: is what panda_server_token_cache_clients writes",
        ),
        (
            {"panda_server_overlay": {"server": {"token_cache_config": "/etc/panda/t.json"}}},
            "panda_server_overlay: token_cache_config: is what panda_server_token_cache_clients writes",
        ),
        (
            {"panda_server_payload": "bundled", "panda_server_adder_plugins": ""},
            "panda_server_token_cache_clients: the payload bundled fetches no tokens",
        ),
    ],
)
def test_a_token_cache_that_would_do_nothing_is_refused(
    node: dict[str, Any], variables: dict[str, Any], fault: str
) -> None:
    (found,) = faults(node, **{**TOKENS, **variables})
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("owner", "refused"), [("", False), ("atlpan:zp 0755", False), ("root:root 0755", False), ("eve:users 0700", True)]
)
def test_a_folder_of_tokens_that_another_account_has_made_is_refused(
    node: dict[str, Any], owner: str, refused: bool
) -> None:
    assert panda_server.look({**DEFAULTS, **PACKAGE})["owners"] == ["/tmp/proxies"]
    assert panda_server.look(DEFAULTS)["owners"] == []
    node["owners"] = {"/tmp/proxies": owner}
    found = faults(node, **PACKAGE)
    assert [fault.partition(":")[0] for fault in found] == ["/tmp/proxies on the node"] * refused
    assert all("belongs to eve" in fault for fault in found)


def test_the_module_tells_who_owns_a_path(run_module: RunModule, tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir(mode=0o750)
    # The link itself: what it points to may be anybody's.
    link.symlink_to("/etc")
    os.chown(link, 12345, 54321, follow_symlinks=False) if os.getuid() == 0 else None
    paths = [str(folder), str(link), str(tmp_path / "none")]
    owners = run_module("preflight", {"roles": [], "look": {"owners": paths}})["node"]["owners"]
    assert owners[str(folder)].endswith(" 0750")
    assert owners[str(tmp_path / "none")] == ""
    if os.getuid() == 0:
        assert owners[str(folder)] == "root:root 0750"
        assert owners[str(link)] == "12345:54321 0777"


def test_the_public_package_is_a_payload(node: dict[str, Any]) -> None:
    assert faults(node, **PACKAGE) == []


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        (
            {"panda_server_backend": "mysql"},
            "panda_server_backend: is mysql; the payload panda-server runs on postgres or",
        ),
        ({"panda_server_schema_manage": True}, "panda_server_schema_manage: the schema of the payload panda-server is"),
        ({"panda_server_schema_prefix": "DOMA;"}, "panda_server_schema_prefix: 'DOMA;' is no part of a name"),
        (
            {"panda_server_payload_requirement": "panda-server"},
            "panda_server_payload_requirement: 'panda-server' names no",
        ),
        (
            {"panda_server_config": {"nDBConForFastCGIWSGI": 1}},
            "panda_server_config: nDBConForFastCGIWSGI is not read any more: nDBConnection has replaced it",
        ),
        (
            {"panda_server_overlay": {"server": {"auth_policies": "/x"}}},
            "panda_server_overlay: auth_policies is not read any more: the names of the files in",
        ),
        ({"panda_server_auth_policies": "/x"}, "panda_server_auth_policies: auth_policies is not read any more"),
        (
            {"panda_server_adder_plugins": "local:dataservice.AdderDummyPlugin:AdderDummyPlugin"},
            "panda_server_adder_plugins: dataservice.AdderDummyPlugin is no module any more: write "
            "pandaserver.dataservice.adder_dummy_plugin",
        ),
        (
            {"panda_server_setupper_plugins": "wlcg:dataservice.setupper_dummy_plugin:SetupperDummyPlugin"},
            "panda_server_setupper_plugins: dataservice.setupper_dummy_plugin is no module any more: write "
            "pandaserver.dataservice.setupper_dummy_plugin",
        ),
        (
            {
                "panda_server_config": {
                    "closer_plugins": "atlas:pandaserver.dataservice.CloserAtlasPlugin:CloserAtlasPlugin"
                }
            },
            "panda_server_config: closer_plugins: pandaserver.dataservice.CloserAtlasPlugin is no module",
        ),
    ],
)
def test_what_the_public_package_no_longer_knows_is_refused_with_what_replaced_it(
    node: dict[str, Any], variables: dict[str, Any], fault: str
) -> None:
    (found,) = faults(node, **{**PACKAGE, **variables})
    assert found.startswith(fault)


def looping(*names: str, **more: Any) -> dict[str, Any]:
    return {name: {"enable": True, "period": 240, "loop": True, **more} for name in names}


THREE = looping("add_main", "add_sub", "watcher")


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        (
            {"panda_server_daemon_n_proc": 2, "panda_server_daemon_jobs": THREE},
            "panda_server_daemon_n_proc: is 2, and 3 jobs have `loop` (add_main, add_sub, watcher), each of which",
        ),
        (
            {"panda_server_daemon_n_proc": 3, "panda_server_daemon_jobs": THREE},
            "panda_server_daemon_n_proc: is 3, and 3",
        ),
        (
            {"panda_server_overlay": {"daemon": {"n_proc": "2"}}, "panda_server_daemon_jobs": THREE},
            "panda_server_overlay: daemon: n_proc: is 2, and 3 jobs",
        ),
        (
            {"panda_server_overlay": {"daemon": {"config": looping("a", "b", "c", "d")}}},
            "panda_server_daemon_n_proc: is 4",
        ),
        (
            {
                "panda_server_daemon_enabled": False,
                "panda_server_overlay": {"daemon": {"enable": "True", "config": looping("a", "b", "c", "d")}},
            },
            "panda_server_daemon_n_proc: is 4",
        ),
        (
            {"panda_server_overlay": {"daemon": {"n_proc": "many"}}},
            "panda_server_overlay: daemon: n_proc: is many, and",
        ),
        (
            {"panda_server_overlay": {"daemon": {"config": json.dumps(looping("a", "b", "c", "d"))}}},
            "panda_server_daemon_n_proc: is 4, and 4",
        ),
        ({"panda_server_daemon_jobs": {"add_main": True}}, "panda_server_daemon_jobs: has to be a dictionary of jobs"),
    ],
)
def test_jobs_that_would_hold_every_worker_of_the_daemon_are_refused(
    node: dict[str, Any], variables: dict[str, Any], fault: str
) -> None:
    (found,) = faults(node, **{**PACKAGE, **variables})
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "variables",
    [
        {"panda_server_daemon_n_proc": 4, "panda_server_daemon_jobs": THREE},
        {"panda_server_daemon_n_proc": 3, "panda_server_daemon_jobs": looping("a", "b") | looping("c", enable=False)},
        {"panda_server_daemon_n_proc": 2, "panda_server_daemon_jobs": looping("a") | looping("b", "c", loop=False)},
        {"panda_server_daemon_n_proc": 2, "panda_server_daemon_jobs": THREE, "panda_server_daemon_enabled": False},
        {"panda_server_daemon_jobs": looping("a", "b", "c", "d"), "panda_server_overlay": {"daemon": {"config": {}}}},
        {"panda_server_daemon_jobs": looping("a", "b", "c", "d"), "panda_server_cache_only": True},
        # The bundled application's daemon has no such jobs.
        {"panda_server_daemon_n_proc": 1, "panda_server_daemon_jobs": THREE, "panda_server_payload": "bundled"},
    ],
)
def test_a_daemon_with_a_worker_to_spare_is_taken(node: dict[str, Any], variables: dict[str, Any]) -> None:
    assert faults(node, **{**PACKAGE, **variables}) == []


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"panda_server_jedi_enabled": True}, "panda_server_jedi_enabled: the payload bundled has none"),
        (
            {**PACKAGE, "panda_server_jedi_enabled": True, "panda_server_cache_only": True},
            "panda_server_jedi_enabled: a cache node",
        ),
        (
            {**PACKAGE, "panda_server_mcp_enabled": True},
            "panda_server_mcp_enabled: panda_server_payload_requirement is",
        ),
    ],
)
def test_a_service_that_could_not_run_is_refused(node: dict[str, Any], variables: dict[str, Any], fault: str) -> None:
    (found,) = faults(node, **variables)
    assert found.startswith(fault)


def test_jedi_and_mcp_are_taken_with_the_package(node: dict[str, Any]) -> None:
    requirement = "panda-server[postgres, mcp]==1.0.4"
    enabled = {"panda_server_jedi_enabled": True, "panda_server_mcp_enabled": True}
    assert faults(node, **PACKAGE, **enabled, panda_server_payload_requirement=requirement) == []


def test_an_archive_of_the_other_payload_is_refused(node: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "release.json").write_text('{"name": "1.0-x", "payload": "panda-server"}')
    archive = tmp_path / "x.tar"
    wheelhouse.pack(folder, archive)
    (fault,) = faults(node, panda_server_wheelhouse=str(archive))
    assert fault.endswith("is of the payload panda-server, and panda_server_payload is bundled")
    assert faults(node, **PACKAGE, panda_server_wheelhouse=str(archive)) == []
