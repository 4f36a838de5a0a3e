"""A site's own configuration becomes inventory variables, and nothing is lost on the way back."""

from __future__ import annotations

import json
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.panda.provision.plugins.plugin_utils import parameters

from .conftest import ROOT, Render

# In the form of the chart's own panda_server_config.json, and what its container has in its environment.
HELM: dict[str, dict[str, Any]] = {
    "server": {
        "CRIC_URL_CM": "$PANDA_CRIC_CM",
        "backend": "$PANDA_DB_BACKEND",
        "schemaPANDA": "$PANDA_DB_SCHEMAPANDA",
        "schemaMETA": "$PANDA_DB_SCHEMAMETA",
        "configurator_use_cert": "False",
        "production_dns": "iddssv1,Robot,Pilot",
        "pserveralias": "panda-dev-server",
        "pserverhost": "$PANDA_HOSTNAME",
        "pserverport": "443",
        "disableHTTP": "True",
        "dbhost": "$PANDA_DB_HOST",
        "dbport": "$PANDA_DB_PORT",
        "dbpasswd": "$PANDA_DB_PASSWORD",
        "dbuser": "$PANDA_DB_USER",
        "dbname": "$PANDA_DB_NAME",
        "nDBConnection": "2",
        "adder_plugins": "wlcg:dataservice.adder_dummy_plugin:AdderDummyPlugin",
        "token_authType": "oidc",
        "sandboxHostname": "$PANDA_HOSTNAME",
        "cache_dir": "/var/log/panda/cache",
        "emailPass": "$PANDA_MAIL",
        "token_cache_config": "/data/panda/token_cache_config.json",
    },
    "daemon": {
        "enable": "True",
        "n_proc": "6",
        "n_dbconn": "1",
        "config": {"add_main": {"enable": True, "period": 240, "loop": True}},
    },
}
ENVIRONMENT = """\
PANDA_DB_BACKEND=postgres
PANDA_DB_HOST=panda-database
PANDA_DB_PORT=5432
PANDA_DB_USER=panda
PANDA_DB_NAME=panda_db
PANDA_DB_PASSWORD=50%-'secret"=x
PANDA_DB_SCHEMAPANDA="DOMA_PANDA"
export PANDA_DB_SCHEMAMETA='DOMA_PANDAMETA'
PANDA_HOSTNAME=panda.example.org
PANDA_CRIC_CM=/var/cric/cm.json
PANDA_MAIL=letters
PANDA_SERVER_CONF_PORT_SSL=25444
# a comment, and what only a shell reads
if [[ -z "$X" ]]; then
"""


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "parameters.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def resolved() -> dict[str, dict[str, Any]]:
    """What the chart's container makes of its configuration."""
    environment = parameters.read_environment(ENVIRONMENT)
    return {
        section: {
            name: environment.get(value.removeprefix("$"), value) if isinstance(value, str) else value
            for name, value in given.items()
        }
        for section, given in HELM.items()
    }


CLEAR = {"server": {"dbpasswd": "50%-'s\"", "emailPass": "x"}, "mcp": {"transport": "http"}}


@pytest.mark.parametrize(
    "sections", [HELM, CLEAR, {"server": {"dbuser": "?", "dbport": "?"}}, {"daemon": {"enable": "$RUNS"}}, {}]
)
def test_a_charts_configuration_comes_back_as_it_was(sections: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    given, variables = tmp_path / "panda_server_config.json", tmp_path / "variables.yml"
    given.write_text(json.dumps(sections))
    variables.write_text(tool("read", str(given)).stdout)
    assert json.loads(tool("write", str(variables)).stdout) == sections


def test_it_becomes_the_roles_variables_with_their_types_and_none_gets_a_reference() -> None:
    variables = parameters.to_variables(HELM)
    assert variables["panda_server_ndbconnection"] == 2
    assert variables["panda_server_production_dns"] == ["iddssv1", "Robot", "Pilot"]
    assert variables["panda_server_daemon_jobs"] == HELM["daemon"]["config"]
    assert variables["panda_server_cache_dir"] == "/var/log/panda/cache"
    assert parameters.to_variables({"server": {"auth_config": "/etc/panda/auth/"}}) == {
        "panda_server_auth_config": "/etc/panda/auth"
    }
    assert variables["panda_server_config"]["sandboxHostname"] == "$PANDA_HOSTNAME"
    kept = ("panda_server_config", "panda_server_overlay")
    assert [name for name, value in variables.items() if "$" in str(value) and name not in kept] == []
    options = yaml.safe_load((ROOT / "roles/panda_server/meta/argument_specs.yml").read_text())
    assert sorted(set(variables) - set(options["argument_specs"]["main"]["options"])) == []


def test_with_its_environment_it_needs_no_further_word(tmp_path: Path) -> None:
    given, environment, variables = (tmp_path / name for name in ("chart.json", "env", "variables.yml"))
    given.write_text(json.dumps(HELM))
    environment.write_text(ENVIRONMENT)
    done = tool("read", str(given), "--environment", str(environment))
    made = yaml.safe_load(done.stdout)
    assert made["panda_server_backend"] == "postgres"
    assert (made["panda_server_dbhost"], made["panda_server_dbport"]) == ("panda-database", 5432)
    assert made["panda_server_dbpasswd"] == "50%-'secret\"=x"
    assert made["panda_server_servername"] == "panda.example.org"
    assert made["panda_server_port_ssl"] == 25444
    assert made["panda_server_overlay"]["server"] == {
        "schemaPANDA": "DOMA_PANDA",
        "schemaMETA": "DOMA_PANDAMETA",
        "pserverport": "443",
        "dbpasswd": "$PANDA_DB_PASSWORD",
    }
    assert made["panda_server_secrets"] == {"PANDA_MAIL": "letters"}
    assert done.stderr.splitlines() == [
        "parameters: panda_server_dbpasswd is in clear text: move it to a vault",
        "parameters: panda_server_secrets is in clear text: move it to a vault",
    ]
    variables.write_text(done.stdout)
    # The secrets come back as references, as they were.
    expected = resolved()
    expected["server"] |= {"dbpasswd": "$PANDA_DB_PASSWORD", "emailPass": "$PANDA_MAIL"}
    assert json.loads(tool("write", str(variables)).stdout) == expected


def test_what_is_not_in_the_file_is_listed_with_what_to_set(tmp_path: Path) -> None:
    file = tmp_path / "panda_server_config.json"
    names = ("CRIC_URL_CM", "backend", "schemaPANDA", "pserverport", "dbport", "dbpasswd", "emailPass")
    server = {name: HELM["server"][name] for name in names}
    file.write_text(json.dumps({"server": server, "daemon": {"n_proc": "$N"}}))
    done = tool("read", str(file))
    assert done.stderr.splitlines() == [
        "parameters: [server] CRIC_URL_CM is $PANDA_CRIC_CM, whose value is not here: add PANDA_CRIC_CM to "
        "panda_server_environment",
        "parameters: [server] backend is $PANDA_DB_BACKEND, whose value is not here: set panda_server_backend, and "
        "take backend out of panda_server_overlay",
        "parameters: [server] schemaPANDA is $PANDA_DB_SCHEMAPANDA, whose value is not here: add PANDA_DB_SCHEMAPANDA "
        "to panda_server_environment",
        "parameters: [server] pserverport is 443, which clients are told; httpd listens on panda_server_port_ssl, "
        "which is 25443 unless you set it",
        "parameters: [server] dbport is $PANDA_DB_PORT, whose value is not here: set panda_server_dbport, and take "
        "dbport out of panda_server_overlay",
        "parameters: [server] dbpasswd is $PANDA_DB_PASSWORD, whose value is not here: set panda_server_dbpasswd",
        "parameters: [server] emailPass is $PANDA_MAIL, whose value is not here: add PANDA_MAIL to "
        "panda_server_secrets",
        "parameters: [daemon] n_proc is $N, whose value is not here: set panda_server_daemon_n_proc, and take n_proc "
        "out of panda_server_overlay",
    ]


def test_the_port_that_clients_are_told_is_that_of_httpd_where_they_are_the_same() -> None:
    told = {"server": {"pserverport": "8443", "pserverporthttp": "25080"}}
    assert parameters.to_variables(told, {"PANDA_SERVER_CONF_PORT_SSL": "8443"}) == {
        "panda_server_port_ssl": 8443,
        "panda_server_port": 25080,
    }
    assert parameters.to_variables(told) == {
        "panda_server_port": 25080,
        "panda_server_overlay": {"server": {"pserverport": "8443"}},
    }


def test_a_node_made_of_it_has_the_same_parameters(render: Render) -> None:
    made_of = parameters.to_variables(HELM, parameters.read_environment(ENVIRONMENT))
    variables = {**made_of, "panda_server_payload": "panda-server"}
    text = render("panda_server", "panda_server.cfg.j2", **variables)
    cfg = ConfigParser(interpolation=None)  # strict, as the package reads it: nothing may stand twice
    cfg.optionxform = str
    cfg.read_string(text)
    overlay = render("panda_server", "panda_server_config.json.j2", **variables)
    made = {**parameters.read_cfg(text)["server"], **json.loads(overlay)["server"]}
    # Of the secrets a node has the names only.
    expected = {**resolved()["server"], "dbpasswd": "$PANDA_DB_PASSWORD", "emailPass": "$PANDA_MAIL"}
    assert {name: value for name, value in made.items() if name in expected} == expected
    assert json.loads(cfg["daemon"]["config"]) == HELM["daemon"]["config"]


def test_no_parameter_of_it_stands_twice_where_its_environment_is_not_known(render: Render) -> None:
    variables = {**parameters.to_variables(HELM), "panda_server_payload": "panda-server"}
    ConfigParser().read_string(render("panda_server", "panda_server.cfg.j2", **variables))


def test_a_cfg_file_is_read_too_and_the_password_is_pointed_out(tmp_path: Path) -> None:
    file = tmp_path / "panda_server.cfg"
    file.write_text("[server]\ndbhost = db\ndbpasswd = x\n[daemon]\nenable = False\nconfig = {\n  }\n")
    done = tool("read", str(file))
    expected = {"panda_server_dbhost": "db", "panda_server_dbpasswd": "x", "panda_server_daemon_enabled": False}
    assert yaml.safe_load(done.stdout) == {**expected, "panda_server_daemon_jobs": {}}
    assert "move it to a vault" in done.stderr


def test_every_other_secret_is_named_and_its_value_stands_in_one_variable(tmp_path: Path) -> None:
    file = tmp_path / "panda_server_config.json"
    server = {
        "dbpasswd": "${DB}",
        "emailPass": "x1",
        "ei_dbpasswd": "$EI",
        "emailSecret": "none",
        "token_authType": "oidc",
    }
    file.write_text(json.dumps({"server": server, "mcp": {"api.token": "y2"}}))
    done = tool("read", str(file))
    assert yaml.safe_load(done.stdout) == {
        "panda_server_token_auth_type": "oidc",
        "panda_server_config": {
            "emailPass": "$PANDA_SERVER_EMAILPASS", "ei_dbpasswd": "$EI", "emailSecret": "none"
        },
        "panda_server_overlay": {"server": {"dbpasswd": "${DB}"}, "mcp": {"api.token": "$PANDA_MCP_API_TOKEN"}},
        "panda_server_secrets": {"PANDA_SERVER_EMAILPASS": "x1", "PANDA_MCP_API_TOKEN": "y2"},
    }  # fmt: skip
    assert done.stderr.splitlines() == [
        "parameters: panda_server_secrets is in clear text: move it to a vault",
        "parameters: [server] dbpasswd is $DB, whose value is not here: set panda_server_dbpasswd, and take dbpasswd "
        "out of panda_server_overlay",
        "parameters: [server] ei_dbpasswd is $EI, whose value is not here: add EI to panda_server_secrets",
    ]


@pytest.mark.parametrize(("text", "fault"), [("{", "is not JSON"), ("[]", "one JSON object"), ('{"a": 1}', "sections")])
def test_what_is_no_configuration_is_refused(text: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "panda_server_config.json"
    file.write_text(text)
    done = tool("read", str(file))
    assert done.returncode == 1
    assert f"{file}: " in done.stderr
    assert fault in done.stderr


@pytest.mark.parametrize(
    ("text", "line"), [("dbpasswd = s3cret\n", 1), ("[server]\ndbhost = db\ns3cret\n", 3), ("[server]\n= s3cret\n", 2)]
)
def test_a_cfg_file_that_cannot_be_read_is_refused_by_the_line_without_showing_it(
    text: str, line: int, tmp_path: Path
) -> None:
    file = tmp_path / "panda_server.cfg"
    file.write_text(text)
    done = tool("read", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"parameters.py: {file}: is not a cfg file: line {line} ")
    assert "s3cret" not in done.stderr


PLACES = "[server]\nlogdir = /var/log/panda\nrate = 100%%\nemailDB = %(logdir)s/email_db\n"


def test_what_refers_to_another_parameter_is_read_as_the_package_reads_it(render: Render) -> None:
    read = parameters.read_cfg(PLACES)
    assert read["server"] == {"logdir": "/var/log/panda", "rate": "100%", "emailDB": "/var/log/panda/email_db"}
    made = render("panda_server", "panda_server.cfg.j2", **parameters.to_variables(read))
    then = parameters.read_cfg(made)
    assert [line for line in parameters.differences(read, then) if "is not set" not in line] == []
    then["server"]["emailDB"] = "%(logdir)s/email_db"
    said = parameters.differences(read, then)
    assert "[server] emailDB: is /var/log/panda/email_db, and would be %(logdir)s/email_db" in said


@pytest.mark.parametrize("value", ["%(nowhere)s/s3cret", "s3cret 100%", "%(dbpasswd)s"])
def test_a_reference_that_leads_nowhere_is_refused_by_its_line(value: str, tmp_path: Path) -> None:
    file = tmp_path / "panda_server.cfg"
    file.write_text(f"[daemon]\ndbpasswd = x\n[server]\ndbhost = db\ndbpasswd = {value}\n[mcp]\nrate = 7%\n")
    done = tool("read", str(file))
    assert done.returncode == 1
    assert "refers to nothing: line 5 ([server] dbpasswd), line 7 ([mcp] rate): write %% for" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("arguments", [("read", "none.json"), ("read", "f.json", "--environment", "none.env")])
def test_a_file_that_is_not_there_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("{}")
    done = tool(*(str(tmp_path / word) if "." in word else word for word in arguments))
    assert done.returncode == 1
    assert done.stderr == f"parameters.py: {tmp_path / arguments[-1]}: No such file or directory\n"


@pytest.mark.parametrize("table", ["{", "[]", {"add_main": 1}])
def test_a_job_table_that_is_none_is_named(table: object) -> None:
    with pytest.raises(parameters.ParametersError, match=r"\[daemon\] config: is no JSON object of jobs"):
        parameters.to_variables({"daemon": {"config": table}})


def test_differences_name_each_parameter_and_show_no_secret() -> None:
    now = {"server": {"dbhost": "old", "dbpasswd": "one", "x": "1"}}
    then = {"server": {"dbhost": "new", "dbpasswd": "two", "y": "2"}}
    assert parameters.differences(now, then) == [
        "[server] dbhost: is old, and would be new",
        "[server] dbpasswd: is (not shown), and would be (not shown)",
        "[server] x: is 1, and would be gone; to keep it, put it into panda_server_config",
        "[server] y: is not set, and would be 2",
    ]
    assert parameters.differences(now, now) == []
