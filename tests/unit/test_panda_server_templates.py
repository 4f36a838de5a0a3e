"""Every file of the role panda_server, over several sets of variables, put before the program that will read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import demo_ca, parameters
from panda_node import config, config_files, oidc

from .conftest import ROOT, Render

PASSWORD = "two  words \"quoted\" 'so' $HOME ${HOME} `id` \\ \\\\ \\n %n %% # ; = ! ü"
VARIANTS: dict[str, dict[str, Any]] = {
    "nothing set": {},
    "a database server": {
        "panda_server_backend": "postgres",
        "panda_server_dbhost": "db.cern.ch",
        "panda_server_dbport": 5433,
        "panda_server_dbuser": "panda@atlas %1",
        "panda_server_dbpasswd": PASSWORD,
    },
    "many daemon jobs": {
        "panda_server_daemon_n_proc": 20,
        "panda_server_daemon_jobs": {
            f'job {number} "of" many': {
                "module": "cache_schedconfig",
                "period": 60 * number,
                "timeout": 90,
                "sync": bool(number % 2),
                "arguments": ["--name", 'a "quoted" \\ word', "two\nlines", "100 %", "ü"],
            }
            for number in range(1, 20)
        }
        | {"not_there_yet": {"enable": False, "module": "retired"}},
    },
    "odd but legal names": {
        "panda_server_user": "_panda-1",
        "panda_server_group": "z_p-2",
        "panda_server_home": "/data/atlpan.d/x+y@z",
        "panda_server_logdir": "/var/log/panda-1.0_a",
        "panda_server_servername": "a1.b-2.example",
        "panda_server_pserveralias": "Panda.Example",
    },
    "token authentication": {
        "panda_server_token_auth_type": "oidc",
        "panda_server_auth_policies": "/etc/panda/auth_policies.json",
    },
    "extra environment": {
        "panda_server_environment": {"ODD": PASSWORD, "EMPTY": "", "NUMBER": 7, "TZ": "Europe/Zurich"}
    },
    "further parameters": {
        "panda_server_config": {"rate": "100%", "nothing": None, "a.b-c": "x = y", "price": "5 $ each"},
        "panda_server_overlay": {"server": {"dbtimeout": 60}, "daemon": {"n_proc": 2}},
    },
    "further secrets": {
        "panda_server_secrets": {"HOST": "h.example", "RATE": "7"},
        "panda_server_config": {"transformation": "$HOST"},
        "panda_server_overlay": {"server": {"rate_limit": "${RATE}"}},
    },
    "grid proxies": {
        "panda_server_gridsite": True,
        "panda_server_production_fqans": ["/atlas/Role=production", "/wlcg"],
    },
    "a cache node": {"panda_server_cache_only": True},
    "JEDI and MCP": {
        "panda_server_payload": "panda-server",
        "panda_server_backend": "postgres",
        "panda_server_jedi_enabled": True,
        "panda_server_jedi_config": {"jobgen": {"nWorkers": 1, "note": "100 %"}, "daemon": {"enable": "False"}},
        "panda_server_mcp_enabled": True,
    },
    "much set for httpd": {
        "panda_server_port": 8080,
        "panda_server_port_ssl": 8443,
        "panda_server_min_workers": 1,
        "panda_server_max_workers": 8,
        "panda_server_threads_per_child": 8,
        "panda_server_max_backlog": 4096,
        "panda_server_monitoring_clients": ["192.0.2.7", "198.51.100.0/24", "2001:db8::/32"],
        "panda_server_daemon_enabled": False,
    },
}
MODULES = {"RedHat": "/usr/lib64/httpd/modules", "Debian": "/usr/lib/apache2/modules"}

# The public package, which alone can judge its configuration, is not here.
BUNDLED = {name: variables for name, variables in VARIANTS.items() if "panda_server_payload" not in variables}
every_variant = pytest.mark.parametrize("variables", BUNDLED.values(), ids=BUNDLED.keys())


def variants(*names: str) -> pytest.MarkDecorator:
    """Those variants that make a difference to a file."""
    return pytest.mark.parametrize("variables", [VARIANTS[name] for name in names], ids=names)


class Role:
    """The role's templates, rendered for a bare node."""

    def __init__(self, render: Render, node: Mapping[str, Any] | None = None) -> None:
        self._render = render
        self._node = node or {}

    def __call__(self, template: str, family: str = "RedHat", **variables: Any) -> Any:
        authorities = f"{variables.get('panda_server_ca_certificates', '/etc/grid-security/certificates')}/*.0"
        node = {
            "globs": {authorities: []},
            "paths": {f"{MODULES[family]}/mod_systemd.so": ""},
            "units": {},
            "links": {},
            **self._node,
        }
        return self._render("panda_server", template, os_family=family, panda_preflight={"node": node}, **variables)


@pytest.fixture
def role(render: Render) -> Role:
    """Return `role(template, family, **variables)`, which renders for a bare node."""
    return Role(render)


def checker(program: str, package: str) -> str:
    """The path of a program that judges files; its absence is a failure with the remedy."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert path, f"{program} is not installed here: apt-get install {package}"
    return path


@variants("nothing set", "a database server", "further parameters")
def test_templates_are_fully_rendered_and_only_one_of_them_holds_secrets(role: Role, variables: dict[str, Any]) -> None:
    holders = set()
    for template in sorted((ROOT / "roles/panda_server/templates").glob("*.j2")):
        secrets = {"panda_server_dbpasswd": "s3cret", "panda_server_secrets": {"MAIL": "s3cret"}}
        text = role(template.name, **{**variables, **secrets})
        assert not re.search(r"\{\{|\{%|__panda_server|AnsibleUndefined", text), template.name
        if "s3cret" in text:
            holders.add(template.name)
    assert holders == {"panda_server_secrets.env.j2"}


# Environment files ------------------------------------------------------------------------------------------------


def as_systemd(text: str) -> dict[str, str]:
    """Read an environment file by the rules of systemd.exec(5), of the forms that the templates write."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"', line)
        assert match, f"systemd reads this line in another way: {line}"
        # Between double quotes, a backslash before one of these is dropped and before others kept.
        found[match[1]] = re.sub(r'\\(["\\`$])', r"\1", match[2])
    return found


def as_panda_node(text: str, folder: Path) -> dict[str, str]:
    """Read an environment file as `panda-node --environment-file` does."""
    (folder / "env").write_text(text)
    return config_files.read_environment_file(folder / "env")


def as_shell(text: str, folder: Path, shell: str) -> dict[str, str]:
    """Read an environment file as a shell does that sources it."""
    (folder / "env").write_text(text)
    script = f"set -a && . {folder}/env && env -0"
    said = subprocess.run([shell, "-c", script], capture_output=True, check=True, env={"PATH": "/usr/bin:/bin"})
    return dict(line.split("=", 1) for line in said.stdout.decode().split("\0") if line)


READERS = ["systemd", "panda-node", "sh", "bash"]


def read(text: str, folder: Path, reader: str) -> dict[str, str]:
    """The variables that a reader finds in an environment file."""
    if reader == "systemd":
        return as_systemd(text)
    return as_panda_node(text, folder) if reader == "panda-node" else as_shell(text, folder, reader)


@variants("nothing set", "odd but legal names", "extra environment")
@pytest.mark.parametrize("reader", READERS)
def test_the_services_get_every_variable_as_it_was_given(
    role: Role, tmp_path: Path, variables: dict[str, Any], reader: str
) -> None:
    wanted = {name: str(value) for name, value in role("{{ __panda_server_environment }}", **variables).items()}
    text = role("panda_server_env.j2", **variables)
    found = read(text, tmp_path, reader)
    assert wanted.items() <= found.items()
    assert {name: str(value) for name, value in variables.get("panda_server_environment", {}).items()}.items() <= (
        found.items()
    )


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("password", [PASSWORD, "$", "\\", '"', '\\"', "\\$", " ", "'", "a" * 200], ids=repr)
def test_secrets_reach_the_services_as_they_were_given(role: Role, tmp_path: Path, password: str, reader: str) -> None:
    given = {"panda_server_dbpasswd": password, "panda_server_secrets": {"MAIL": password, "PIN": 7}}
    found = read(role("panda_server_secrets.env.j2", **given), tmp_path, reader)
    assert {"PANDA_DB_PASSWORD": password, "MAIL": password, "PIN": "7"}.items() <= found.items()


def test_a_node_without_a_password_has_its_other_secrets(role: Role) -> None:
    assert as_systemd(role("panda_server_secrets.env.j2", panda_server_secrets={"MAIL": "x"})) == {"MAIL": "x"}
    assert role("{{ __panda_server_secrets }}") == {}


def test_the_checks_learn_of_secrets_only_that_they_are_there(role: Role) -> None:
    found = role("{{ __panda_server_check_environment }}", panda_server_secrets={"MAIL": "s3cret"})
    assert found["MAIL"] == "present"


@pytest.mark.parametrize("payload", ["bundled", "panda-server"])
def test_preflight_knows_every_parameter_that_may_not_stand_twice(role: Role, payload: str) -> None:
    everything = {
        **VARIANTS["a database server"],
        **VARIANTS["grid proxies"],
        "panda_server_production_dns": ["CN=pilot"],
        "panda_server_auth_policies": "/x",
        "panda_server_payload": payload,
    }
    written = set()
    for line in role("panda_server.cfg.j2", **everything).partition("[daemon]")[0].splitlines():
        if line and not line.startswith(("#", "[")):
            written.add(line.partition(" = ")[0])
    # What a site's own value replaces there stands once.
    written -= set(role("{{ __panda_server_package_parameters }}"))
    known = {*parameters.OWN, *parameters.WRITTEN}
    assert written == (known if payload == "panda-server" else known - parameters.SCHEMAS | {"nDBConForFastCGIWSGI"})


def test_the_application_names_the_port_that_squid_has(role: Role) -> None:
    assert "\npserverportcache = 25085\n" in role("panda_server.cfg.j2")
    assert "\npserverportcache = 8085\n" in role("panda_server.cfg.j2", squid_port=8085)


def test_all_documented_settings_of_httpd_and_wsgi_are_in_the_environment(role: Role) -> None:
    names = {name for name in as_systemd(role("panda_server_env.j2")) if name.startswith("PANDA_SERVER_CONF_")}
    assert {name.removeprefix("PANDA_SERVER_CONF_") for name in names} == {
        "SERVERNAME", "PORT", "PORT_SSL", "MIN_WORKERS", "MAX_WORKERS", "THREADS_PER_CHILD", "NUM_WSGI",
        "NUM_WSGI_THREAD", "MAX_BACKLOG", "MAX_CONNECTIONS",
    }  # fmt: skip


# Organisations ----------------------------------------------------------------------------------------------------

TEST = {"audience": "a", "client_id": "c", "oidc_config_url": "https://iam.example", "vo": "test"}


def organisation_files(role: Role, **organisations: Any) -> dict[str, str]:
    """The files that are written for these organisations, path to text."""
    texts = role("{{ __panda_server_organisation_texts }}", panda_server_auth_organisations=organisations)
    return {text["path"]: text["content"] for text in texts}


@pytest.mark.parametrize("named", [{"cms": TEST}, {}], ids=["another is named", "none is named"])
def test_an_organisation_that_is_no_longer_named_is_removed_and_the_sites_own_file_stays(
    render: Render, role: Role, named: dict[str, Any]
) -> None:
    ours = organisation_files(role, atlas=TEST, cms=TEST)
    theirs = {"/etc/panda/auth/lhcb_auth_config.json": json.dumps(TEST), "/etc/panda/auth/bad_auth_config.json": "{"}
    node = {"texts": {**ours, **theirs, "/etc/other/atlas_auth_config.json": "".join(ours.values())}}
    gone = Role(render, node)("{{ __panda_server_organisations_gone }}", panda_server_auth_organisations=named)
    assert gone == sorted(set(ours) - set(organisation_files(role, **named)))


def test_the_application_takes_an_organisations_file_with_the_mark(role: Role, tmp_path: Path) -> None:
    for path, text in organisation_files(role, atlas=TEST).items():
        (tmp_path / Path(path).name).write_text(text)
    good, bad = oidc.read_organisations(tmp_path)
    assert (set(good), bad) == ({"atlas"}, {})


# The token cache of the public package ---------------------------------------------------------------------------

TOKENS: dict[str, Any] = {
    "panda_server_payload": "panda-server",
    "panda_server_backend": "postgres",
    "panda_server_token_cache_clients": {
        "pilot": {"client_id": "panda", "secret": PASSWORD, "endpoint": "https://iam.example/t", "use_token_key": True}
    },
}


def test_the_clients_of_the_token_cache_reach_the_node_as_they_are_in_a_file_of_the_accounts(role: Role) -> None:
    (text,) = role("{{ __panda_server_secret_texts }}", **TOKENS)
    assert json.loads(text["content"]) == TOKENS["panda_server_token_cache_clients"]
    assert (text["owner"], text["group"], text["mode"], text["secret"]) == ("atlpan", "zp", "0600", True)
    parser = ConfigParser()
    parser.read_string(role("panda_server.cfg.j2", **TOKENS))
    assert parser["server"]["token_cache_config"] == text["path"] == "/etc/panda/token_cache_config.json"
    jobs = json.loads(parser["daemon"]["config"])
    assert jobs["proxyCache"] == {"module": "panda_activeusers_query", "enable": True, "period": 600}


@pytest.mark.parametrize(
    "without",
    [{"panda_server_token_cache_clients": {}}, {"panda_server_payload": "bundled"}, {"panda_server_cache_only": True}],
)
def test_without_clients_or_without_the_package_there_is_no_token_cache(role: Role, without: dict[str, Any]) -> None:
    assert role("{{ __panda_server_secret_texts }}", **{**TOKENS, **without}) == []
    if "panda_server_cache_only" not in without:
        assert "token_cache_config" not in role("panda_server.cfg.j2", **{**TOKENS, **without})


def test_the_folder_of_the_tokens_is_the_accounts_alone_and_nothing_in_it_is_cleaned_away(
    role: Role, tmp_path: Path
) -> None:
    checker("systemd-tmpfiles", "systemd")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(f"atlpan:x:{os.getuid()}:{os.getgid()}::/:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text(f"zp:x:{os.getgid()}:\n")
    tokens, other = tmp_path / "tmp" / "proxies" / "access_token_pilot", tmp_path / "tmp" / "other"
    tokens.parent.mkdir(parents=True)
    tokens.parent.chmod(0o755)
    for path in (tokens, other):
        path.touch()
    rules = tmp_path / "rules.conf"
    rules.write_text(role("tmpfiles.conf.j2") + "e /tmp - - - 0\n")
    for verb in ("--create", "--clean"):
        subprocess.run(["systemd-tmpfiles", f"--root={tmp_path}", verb, rules], check=True)
    assert tokens.parent.stat().st_mode & 0o7777 == 0o700
    assert (tokens.exists(), other.exists()) == (True, False)


# Configuration of the application ---------------------------------------------------------------------------------


class Application:
    """The application's configuration files in a folder, and its own way to read them."""

    def __init__(self, role: Role, folder: Path, variables: dict[str, Any]) -> None:
        # The one folder that the application looks for on the machine it runs on.
        (folder / "auth").mkdir()
        variables = {"panda_server_auth_config": str(folder / "auth"), **variables}
        self.folder = folder
        self.overlay = folder / "overlay.json"
        for name in ("panda_common.cfg", "panda_server.cfg"):
            (folder / name).write_text(role(f"{name}.j2", **variables))
        self.overlay.write_text(role("panda_server_config.json.j2", **variables))
        self.environment = {
            name: value
            for template in ("panda_server_env.j2", "panda_server_secrets.env.j2")
            for name, value in as_systemd(role(template, **variables)).items()
        }

    def check(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "panda_node.cli", "config", "check",
             "--directory", str(self.folder), "--overlay", str(self.overlay)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip

    def settings(self) -> config.Settings:
        settings, faults = config.examine([self.folder], self.overlay, self.environment)
        assert faults == []
        return settings


def test_the_application_takes_secrets_from_the_environment_in_both_files(role: Role, tmp_path: Path) -> None:
    settings = Application(role, tmp_path, VARIANTS["further secrets"]).settings()
    assert (settings.transformation, settings.rate_limit) == ("h.example", 7)


@every_variant
def test_the_application_finds_no_fault(role: Role, tmp_path: Path, variables: dict[str, Any]) -> None:
    done = Application(role, tmp_path, variables).check()
    assert (done.returncode, done.stdout) == (0, "configuration: OK\n"), done.stderr


def test_the_application_would_find_a_fault(role: Role, tmp_path: Path) -> None:
    application = Application(role, tmp_path, {"panda_server_config": {"token_authType": "guess"}})
    assert application.check().returncode == 2


def test_the_database_settings_arrive_as_they_were_given(role: Role, tmp_path: Path) -> None:
    database = Application(role, tmp_path, VARIANTS["a database server"]).settings().database
    assert (database.backend, database.host, database.port) == ("postgres", "db.cern.ch", 5433)
    assert (database.user, database.password, database.name) == ("panda@atlas %1", PASSWORD, "panda_db")


def test_a_trial_node_uses_a_file_as_its_database(role: Role, tmp_path: Path) -> None:
    database = Application(role, tmp_path, {}).settings().database
    assert (database.backend, database.name) == ("sqlite", "/var/lib/panda/panda.db")


def test_the_daemons_jobs_arrive_as_they_were_given(role: Role, tmp_path: Path) -> None:
    wanted = VARIANTS["many daemon jobs"]["panda_server_daemon_jobs"]
    daemon = Application(role, tmp_path, VARIANTS["many daemon jobs"]).settings().daemon
    assert daemon.processes == 20
    found = {job.name: (job.period, job.timeout, job.sync, list(job.arguments)) for job in daemon.jobs}
    assert found == {
        name: (job["period"], job["timeout"], job["sync"], job["arguments"])
        for name, job in wanted.items()
        if job.get("enable", True)
    }


def test_a_node_without_periodic_work_has_a_daemon_that_does_none(role: Role, tmp_path: Path) -> None:
    assert not Application(role, tmp_path, {"panda_server_daemon_enabled": False}).settings().daemon.enable


def test_the_overlay_overrides_the_cfg_file(role: Role, tmp_path: Path) -> None:
    settings = Application(role, tmp_path, VARIANTS["further parameters"]).settings()
    assert (settings.database.call_timeout, settings.daemon.processes) == (60, 2)


@variants("nothing set", "further parameters")
def test_the_overlay_is_the_json_that_was_given(role: Role, variables: dict[str, Any]) -> None:
    text = role("panda_server_config.json.j2", **variables)
    assert json.loads(text) == variables.get("panda_server_overlay", {})


# httpd ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate, its key and its authority."""
    folder = tmp_path_factory.mktemp("certificates")
    demo_ca.host_certificate(folder, "node", ["pandaserver.cern.ch"])
    return folder


def httpd_says(text: str, folder: Path, environment: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """What `httpd -t` says of a configuration, whose own folders are looked for below `folder`."""
    for place in ("/etc/panda", "/run/panda_httpd"):
        (folder / place[1:]).mkdir(parents=True, exist_ok=True)
        text = text.replace(place, f"{folder}{place}")
    (folder / "httpd.conf").write_text(text.replace(MODULES["RedHat"], MODULES["Debian"]))
    return subprocess.run(
        [checker("apache2", "apache2-bin"), "-t", "-f", str(folder / "httpd.conf")],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
    )


def on_this_machine(demo_files: Path) -> dict[str, Any]:
    """Variables that name an account and files that are here."""
    return {
        "panda_server_user": "daemon",
        "panda_server_group": "daemon",
        "panda_server_hostcert": str(demo_files / "node.pem"),
        "panda_server_hostkey": str(demo_files / "node.key"),
        "panda_server_chain": str(demo_files / "ca.pem"),
        "panda_server_ca_certificates": str(demo_files),
    }


@variants(
    "nothing set", "odd but legal names", "extra environment", "grid proxies", "a cache node", "JEDI and MCP",
    "much set for httpd",
)  # fmt: skip
@pytest.mark.parametrize("family", MODULES)
def test_httpd_takes_the_configuration(
    role: Role, tmp_path: Path, demo_files: Path, variables: dict[str, Any], family: str
) -> None:
    given = {**variables, **on_this_machine(demo_files)}
    environment = role("{{ __panda_server_environment }}", family, **given)
    done = httpd_says(role("panda_server-httpd.conf.j2", family, **given), tmp_path, environment)
    assert (done.returncode, done.stderr) == (0, "Syntax OK\n")


def test_httpd_would_refuse_a_slip(role: Role, tmp_path: Path, demo_files: Path) -> None:
    text = role("panda_server-httpd.conf.j2", **on_this_machine(demo_files))
    done = httpd_says(text.replace("SSLEngine on", "SSLEngin on"), tmp_path, role("{{ __panda_server_environment }}"))
    assert done.returncode != 0
    assert "SSLEngin" in done.stderr


def clients_with_certificates(render: Render, demo_files: Path, **given: Any) -> str:
    """What httpd's configuration says of client certificates."""
    given = {**on_this_machine(demo_files), **given}
    node = {"globs": {f"{demo_files}/*.0": given.pop("authorities", [])}}
    text = Role(render, node)("panda_server-httpd.conf.j2", **given)
    return " ".join(re.findall(r"^ *(SSLVerifyClient \w+|SSLCACertificate\w+ \S+)", text, re.MULTILINE))


def test_client_certificates_are_asked_for_where_an_authority_is_known(render: Render, demo_files: Path) -> None:
    """httpd does not start on a folder of authorities that is empty."""
    none = clients_with_certificates(render, demo_files)
    assert none == "SSLVerifyClient none"
    known = clients_with_certificates(render, demo_files, authorities=[f"{demo_files}/1a2b3c4d.0"])
    assert known == f"SSLVerifyClient optional SSLCACertificatePath {demo_files}"
    demo = clients_with_certificates(render, demo_files, panda_server_certificate_source="demo_ca")
    assert demo == f"SSLVerifyClient optional SSLCACertificateFile {demo_files}/ca.pem"


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({}, "chain no_crl_for_cert_ok"),
        ({"panda_server_revocation": "required"}, "chain"),
        ({"panda_server_revocation": "ignored"}, None),
        ({"panda_server_gridsite": True}, None),
        ({"panda_server_cache_only": True}, None),
    ],
)
def test_client_certificates_are_looked_up_in_revocation_lists(
    render: Render, demo_files: Path, given: dict[str, Any], check: str | None
) -> None:
    node = {"globs": {f"{demo_files}/*.0": [f"{demo_files}/1a2b3c4d.0"]}}
    role = Role(render, node)
    given = {**given, **on_this_machine(demo_files)}
    text = role("panda_server-httpd.conf.j2", **given)
    assert re.findall(r"^ *SSLCARevocationCheck (.+)", text, re.MULTILINE) == ([check] if check else [])
    assert ("panda_revocation.timer" in role("{{ __panda_server_units }}", **given)) is bool(check)


def test_httpd_holds_as_many_requests_as_there_may_be_workers(role: Role) -> None:
    variables: dict[str, Any] = {"panda_server_max_workers": 96, "panda_server_threads_per_child": 32}
    assert "\nServerLimit 3\n" in role("panda_server-httpd.conf.j2", **variables)


@variants("nothing set", "grid proxies")
def test_mod_gridsite_comes_and_goes_by_a_reload(role: Role, variables: dict[str, Any]) -> None:
    """A session cache cannot: httpd ends at a reload that takes it away."""
    text = role("panda_server-httpd.conf.j2", **variables)
    assert "SSLSessionCache" not in text
    assert ("SSLSessionTickets off" in text) is ("mod_gridsite.so" in text) is bool(variables)


@variants("nothing set", "grid proxies")
def test_what_tells_who_the_client_is_cannot_be_sent_by_a_client(role: Role, variables: dict[str, Any]) -> None:
    text = role("panda_server-httpd.conf.j2", **variables)
    everybody = text.partition("<VirtualHost")[0]
    told = set(re.findall(r"RequestHeader set (\S+)", text))
    assert told
    assert [name for name in told if f"RequestHeader unset {name} early\n" not in everybody] == []


@pytest.mark.parametrize(("limit", "waits"), [(60, 300), (300, 330), (500, 530)])
def test_httpd_waits_until_the_application_gives_up_the_database(role: Role, limit: int, waits: int) -> None:
    text = role("panda_server-httpd.conf.j2", panda_server_dbtimeout=limit)
    assert set(re.findall(r"timeout=(\d+) retry=0", text)) == {str(waits)}


def test_no_browser_takes_a_file_of_a_static_folder_for_a_page_of_the_node(role: Role) -> None:
    folders = re.findall(r"<Directory (/\S+/)>(.*?)</Directory>", role("panda_server-httpd.conf.j2"), re.DOTALL)
    assert len(folders) == 5
    for folder, inside in folders:
        assert "Header set Content-Security-Policy sandbox" in inside, folder
        assert "Header set X-Content-Type-Options nosniff" in inside, folder


CACHES = {
    "panda_server_cache_dir": "/srv/panda/cache",
    "panda_server_schedconfig_cache_dir": "/srv/panda/cache/schedconfig",
}


@pytest.mark.parametrize("payload", ["bundled", "panda-server"])
@pytest.mark.parametrize(
    "folders",
    [["/var/log/panda/pandacache", "/var/cache/pandaserver/schedconfig"], list(CACHES.values())],
    ids=["by default", "of the site's own"],
)
def test_the_application_writes_into_the_folders_that_httpd_serves(
    role: Role, payload: str, folders: list[str]
) -> None:
    given = {**(CACHES if folders == list(CACHES.values()) else {}), "panda_server_payload": payload}
    server = ConfigParser()
    server.read_string(role("panda_server.cfg.j2", **given))
    assert [server["server"][name] for name in ("cache_dir", "schedconfig_cache_dir")] == folders
    assert server["server"].get("pilot_cache_dir", f"{folders[0]}/pilot") == f"{folders[0]}/pilot"
    aliases = dict(re.findall(r"^Alias (\S+) (\S+)$", role("panda_server-httpd.conf.j2", **given), re.MULTILINE))
    assert [aliases["/cache/"], aliases["/cache/schedconfig/"]] == [f"{folder}/" for folder in folders]
    owned = [item["path"] for item in role("{{ __panda_server_directories }}", **given) if item.get("owner")]
    assert set(folders) <= set(owned)
    labels = {label["path"]: label["type"] for label in role("{{ __panda_server_labels }}", **given)}
    assert [labels[folder] for folder in folders] == ["httpd_sys_content_t"] * 2


def test_what_a_new_nodes_squid_is_tried_with_lies_where_httpd_serves_it(render: Render) -> None:
    burn_in = render("squid", "{{ __squid_burn_in.file }}", **CACHES)
    assert burn_in == "/srv/panda/cache/schedconfig/burn-in.json"


def test_only_the_node_and_named_clients_see_metrics_and_status(role: Role) -> None:
    text = role("panda_server-httpd.conf.j2", panda_server_monitoring_clients=["192.0.2.7"])
    for location in ("/node/metrics", "/server-status"):
        inside = text.partition(f"<Location {location}>")[2].partition("</Location>")[0]
        assert re.findall(r"Require (.+)", inside) == ["local", "ip 192.0.2.7"]


# Units ------------------------------------------------------------------------------------------------------------

UNITS = ["panda.service", "panda_httpd.service", "panda_wsgi.socket", "panda_wsgi.service", "panda_daemon.service"]
# Where the node knows no authority of client certificates, nothing is revoked.
REVOCATION = "panda_revocation.timer"
OPTIONAL = ["panda_jedi.service", "panda_mcp.service"]
WRITTEN = [*UNITS, *OPTIONAL, REVOCATION, "panda_revocation.service"]


def systemd_says(folder: Path) -> str:
    """What `systemd-analyze verify` has to say of the units in a folder: nothing where all is well."""
    done = subprocess.run(
        [
            checker("systemd-analyze", "systemd"),
            "verify",
            "--man=no",
            *(str(folder / unit) for unit in WRITTEN),
        ],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def write_units(role: Role, folder: Path, family: str, variables: dict[str, Any]) -> None:
    """Write the units to a folder, with programs that are there."""
    (folder / "bin").mkdir()
    for program in ("panda-node", "gunicorn", "httpd"):
        (folder / "bin" / program).symlink_to("/bin/true")
    here = {"panda_server_prefix": str(folder), "__panda_server_httpd": f"{folder}/bin/httpd"}
    for unit in WRITTEN:
        (folder / unit).write_text(role(f"{unit}.j2", family, **{**variables, **here}))


@variants("nothing set", "odd but legal names", "a cache node", "JEDI and MCP", "much set for httpd")
@pytest.mark.parametrize("family", MODULES)
def test_systemd_takes_the_units(role: Role, tmp_path: Path, variables: dict[str, Any], family: str) -> None:
    write_units(role, tmp_path, family, variables)
    assert systemd_says(tmp_path) == ""


def test_systemd_would_point_at_a_slip(role: Role, tmp_path: Path) -> None:
    write_units(role, tmp_path, "RedHat", {})
    unit = tmp_path / "panda_daemon.service"
    unit.write_text(unit.read_text().replace("Restart=", "Restrat="))
    assert "Unknown key" in systemd_says(tmp_path)


@pytest.mark.parametrize("unit", [*UNITS[1:], *OPTIONAL, REVOCATION])
def test_every_child_starts_after_its_parent_and_stops_with_it(render: Render, unit: str) -> None:
    knowing = Role(
        render, {"globs": {"/etc/grid-security/certificates/*.0": ["/etc/grid-security/certificates/1a2b3c4d.0"]}}
    )
    text = knowing(f"{unit}.j2")
    assert "\nPartOf=panda.service\n" in text
    assert re.search(r"^Requires=panda.service\b", text, re.MULTILINE)
    assert re.search(r"^After=panda.service\b", text, re.MULTILINE)
    assert "\nWantedBy=panda.service\n" in text
    assert (
        unit
        in re.search(r"^Also=(.+)$", knowing("panda.service.j2", **VARIANTS["JEDI and MCP"]), re.MULTILINE)[1].split()
    )


def test_a_cache_node_has_no_application_and_asks_no_database(role: Role) -> None:
    cache = VARIANTS["a cache node"]
    assert role("{{ __panda_server_units }}", **cache) == UNITS[:2]
    assert role("{{ __panda_server_unwanted_units }}", **cache) == [REVOCATION, *UNITS[2:], *OPTIONAL]
    assert role("{{ __panda_server_application_units }}", __panda_server_unit_files={}, **cache) == []
    assert "schema check" not in role("panda.service.j2", **cache)
    assert "ProxyPass" not in role("panda_server-httpd.conf.j2", **cache)
    assert role("{{ panda_server_schema_manage }}", **cache) is False


def test_jedi_and_mcp_run_only_where_they_are_asked_for(role: Role) -> None:
    assert role("{{ __panda_server_units }}") == UNITS
    assert role("{{ __panda_server_unwanted_units }}") == [REVOCATION, *OPTIONAL]
    assert role("{{ __panda_server_units }}", **VARIANTS["JEDI and MCP"]) == UNITS + OPTIONAL
    written = role("{{ __panda_server_application_units }}", __panda_server_unit_files={}, **VARIANTS["JEDI and MCP"])
    assert written == UNITS[3:] + OPTIONAL


@pytest.mark.parametrize(
    ("path", "application", "httpd"),
    [
        ("/etc/sysconfig/panda_server_env", True, True),
        ("/etc/systemd/system/panda_httpd.service", False, True),
        ("/etc/systemd/system/panda_wsgi.service", True, False),
        ("/etc/systemd/system/panda_revocation.timer", False, False),
        ("/etc/firewalld/policies/panda-server.xml", False, False),
        ("/etc/sysctl.d/60-panda.conf", False, False),
    ],
)
def test_only_what_reads_a_file_is_restarted_for_it(role: Role, path: str, application: bool, httpd: bool) -> None:
    written: dict[str, Any] = {"__panda_server_unit_files": {"changed": True, "changed_paths": [path]}}
    assert role("{{ __panda_server_application_changed }}", **written) is application
    assert role("{{ __panda_server_httpd_changed }}", **written) is httpd


def test_the_application_is_restarted_for_its_configuration(role: Role) -> None:
    written = {"__panda_server_application_files": {"changed": True, "changed_paths": ["/etc/panda/panda_server.cfg"]}}
    assert role("{{ __panda_server_application_changed }}", **written) is True
    assert role("{{ __panda_server_httpd_changed }}", **written) is False


def test_a_roll_goes_by_the_units_that_the_node_has(render: Render) -> None:
    role = Role(render, {"units": {unit: {"load": "loaded"} for unit in UNITS}})
    assert role("{{ __panda_server_application_units }}", **VARIANTS["JEDI and MCP"]) == UNITS[3:]


def test_jedi_gets_the_packages_parameters_with_what_the_site_has_said_and_no_password(role: Role) -> None:
    given = {**VARIANTS["JEDI and MCP"], **VARIANTS["a database server"]}
    parser = ConfigParser()
    parser.optionxform = str
    parser.read_string(role("panda_jedi.cfg.j2", **given))
    assert parser["db"]["dbuser"] == "panda@atlas %1"
    assert parser["db"]["dbpasswd"] == "$PANDA_DB_PASSWORD"
    assert (parser["jobgen"]["nWorkers"], parser["jobgen"]["nTasks"], parser["jobgen"]["note"]) == ("1", "50", "100 %")
    assert parser["daemon"]["enable"] == "False"


@pytest.mark.parametrize("unit", ["panda.service", "panda_wsgi.service", "panda_daemon.service", "panda_jedi.service"])
def test_what_talks_to_the_database_gets_the_password(role: Role, unit: str) -> None:
    assert "\nEnvironmentFile=-/etc/panda/panda_server_secrets.env\n" in role(f"{unit}.j2")


@pytest.mark.parametrize("unit", ["panda_httpd.service", "panda_mcp.service"])
def test_what_does_not_does_not(role: Role, unit: str) -> None:
    assert "secrets" not in role(f"{unit}.j2")


def test_only_the_services_account_reaches_the_application_past_httpd(role: Role) -> None:
    text = role("panda_wsgi.socket.j2", panda_server_user="_panda-1", panda_server_group="z_p-2")
    assert "\nSocketUser=_panda-1\nSocketGroup=z_p-2\nSocketMode=0600\n" in text


@pytest.mark.parametrize(("module", "kind"), [("file", "notify"), ("", "exec")])
def test_httpd_reports_to_systemd_where_it_can(render: Render, module: str, kind: str) -> None:
    role = Role(render, {"paths": {f"{MODULES['RedHat']}/mod_systemd.so": module}})
    assert f"\nType={kind}\n" in role("panda_httpd.service.j2")


# Firewall and kernel ----------------------------------------------------------------------------------------------


def test_the_firewall_opens_both_ports_and_nothing_else(role: Role) -> None:
    text = role("firewalld-policy.xml.j2", panda_server_port=8080, panda_server_port_ssl=8443)
    service = ElementTree.fromstring(text)
    assert service.tag == "policy"
    assert [port.attrib for port in service.iter("port")] == [
        {"port": "8080", "protocol": "tcp"},
        {"port": "8443", "protocol": "tcp"},
    ]


def test_the_kernel_is_told_names_and_numbers(role: Role) -> None:
    lines = [line for line in role("sysctl.conf.j2").splitlines() if line and not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[a-z0-9_.]+ = \d+", line) for line in lines)
