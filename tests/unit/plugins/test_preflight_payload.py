"""What the role panda_server refuses of the public package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import panda_server

from .conftest import MakePair
from .preflight_nodes import DEFAULTS, PACKAGE, faults, sound_node


@pytest.fixture
def node(make_pair: MakePair) -> dict[str, Any]:
    return sound_node(make_pair)


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
