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

HELM: dict[str, dict[str, Any]] = {
    "server": {
        "backend": "postgres",
        "dbhost": "panda-database",
        "dbport": "5432",
        "dbuser": "panda",
        "dbpasswd": "50%-'secret\"",
        "nDBConnection": "2",
        "pserverhost": "panda.example.org",
        "pserverport": "443",
        "pserverporthttp": "80",
        "pserverportcache": "443",
        "token_authType": "oidc",
        "production_dns": "CN=alice,CN=bob",
        "schemaPANDA": "DOMA_PANDA",
        "emailPass": "x",
        "record_sandbox_info": "True",
    },
    "daemon": {
        "enable": "True",
        "n_proc": "4",
        "package": "pandaserver.daemons.scripts",
        "config": {"add_main": {"enable": True, "period": 240, "loop": True}},
    },
    "mcp": {"transport": "http"},
}


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "parameters.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("sections", [HELM, {"server": {"dbuser": "FIXME"}}, {"daemon": {"enable": "False"}}, {}])
def test_a_charts_configuration_comes_back_as_it_was(sections: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    given, variables = tmp_path / "panda_server_config.json", tmp_path / "variables.yml"
    given.write_text(json.dumps(sections))
    variables.write_text(tool("read", str(given)).stdout)
    assert json.loads(tool("write", str(variables)).stdout) == sections


def test_it_becomes_the_roles_variables_with_their_types(tmp_path: Path) -> None:
    variables = parameters.to_variables(HELM)
    assert variables["panda_server_ndbconnection"] == 2
    assert variables["panda_server_servername"] == "panda.example.org"
    assert variables["panda_server_production_dns"] == ["CN=alice", "CN=bob"]
    assert variables["panda_server_daemon_jobs"] == HELM["daemon"]["config"]
    assert parameters.to_variables({"server": {"auth_config": "/etc/panda/auth/"}}) == {
        "panda_server_auth_config": "/etc/panda/auth"
    }
    assert variables["panda_server_config"]["record_sandbox_info"] == "True"
    options = yaml.safe_load((ROOT / "roles/panda_server/meta/argument_specs.yml").read_text())
    assert sorted(set(variables) - set(options["argument_specs"]["main"]["options"])) == []


def test_a_node_made_of_it_has_the_same_parameters(render: Render) -> None:
    # What the chart overlays stands in the cfg file then, but for the two that a node has of its own.
    variables = {**parameters.to_variables(HELM), "panda_server_payload": "panda-server"}
    text = render("panda_server", "panda_server.cfg.j2", **variables)
    cfg = ConfigParser(interpolation=None)  # strict, as the package reads it: nothing may stand twice
    cfg.optionxform = str
    cfg.read_string(text)
    overlay = render("panda_server", "panda_server_config.json.j2", **variables)
    made = {**parameters.read_cfg(text)["server"], **json.loads(overlay)["server"]}
    expected = {**HELM["server"], "dbpasswd": "$PANDA_DB_PASSWORD", "emailPass": "$PANDA_SERVER_EMAILPASS"}
    assert {name: value for name, value in made.items() if name in expected} == expected
    assert json.loads(cfg["daemon"]["config"]) == HELM["daemon"]["config"]


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
        "panda_server_overlay": {"mcp": {"api.token": "$PANDA_MCP_API_TOKEN"}},
        "panda_server_secrets": {"PANDA_SERVER_EMAILPASS": "x1", "PANDA_MCP_API_TOKEN": "y2"},
    }  # fmt: skip
    assert done.stderr.splitlines() == [
        "parameters: panda_server_secrets is in clear text: move it to a vault",
        "parameters: dbpasswd is $DB, whose value is not here: add it to panda_server_dbpasswd",
        "parameters: ei_dbpasswd is $EI, whose value is not here: add it to panda_server_secrets",
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
