"""What the role panda_server refuses of its variables and of a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import panda_server

from .conftest import MakePair
from .preflight_nodes import (
    ALMALINUX,
    CERTIFICATE,
    CHAIN,
    DEBIAN,
    DEFAULTS,
    KEY,
    PACKAGE,
    POSTGRES,
    SERVICE,
    faults,
    sound_node,
)


@pytest.fixture
def node(make_pair: MakePair) -> dict[str, Any]:
    return sound_node(make_pair)


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
