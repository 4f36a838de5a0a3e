"""The public package as payload, as far as it can be told without it: a scenario of its own has the package."""

import json
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from panda_node import config, metrics, payload
from panda_node.config import DatabaseSettings
from panda_node.db import drivers, version
from panda_node.db.version import Requirement, Version
from panda_node.errors import SchemaMismatchError
from panda_node.payload import bundled, panda_server, panda_server_check

NEEDED = Requirement("PanDA", Version(0, 1, 1), "DOMA_PANDA.pandadb_version", "mend it", same_major=False)


@pytest.mark.parametrize("installed", [Version(0, 1, 1), Version(0, 1, 6), Version(1, 0, 0)])
def test_any_newer_schema_is_good_as_for_the_package_itself(installed: Version) -> None:
    assert version.judge(installed, NEEDED) == installed


@pytest.mark.parametrize("installed", [None, Version(0, 0, 32), Version(0, 1, 0)])
def test_an_older_schema_is_a_mismatch(installed: Version | None) -> None:
    with pytest.raises(SchemaMismatchError, match=r"this release needs 0\.1\.1; mend it"):
        version.judge(installed, NEEDED)


def test_the_version_is_asked_where_the_package_keeps_it(postgres_node: Any) -> None:
    database = postgres_node.settings().database
    with pytest.raises(SchemaMismatchError, match="no schema is installed"):
        version.check(database, required=NEEDED)
    with closing(drivers.connect(database)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE SCHEMA doma_panda")
        columns = "component varchar(20), major integer, minor integer, patch integer"
        cursor.execute(f"CREATE TABLE doma_panda.pandadb_version ({columns})")
        cursor.execute("INSERT INTO doma_panda.pandadb_version VALUES ('PanDA', 0, 1, 6), ('panda-node', 9, 9, 9)")
        connection.commit()
    assert version.check(database, required=NEEDED) == Version(0, 1, 6)


@pytest.mark.parametrize("backend", ["sqlite", "mysql"])
def test_a_backend_on_which_the_package_does_not_work_is_a_fault(backend: str) -> None:
    settings: Any = SimpleNamespace(database=SimpleNamespace(backend=backend))
    (fault,) = panda_server_check.faults(settings, [], None, {})
    assert fault.endswith(f"[server] backend: is {backend}; panda-server runs on postgres or oracle")


def request(**headers: str) -> dict[str, Any]:
    return {"PATH_INFO": "/api/v1/system/is_alive", "SCRIPT_NAME": "", "REQUEST_METHOD": "GET", **headers}


def test_the_path_moves_to_where_mod_wsgi_puts_it() -> None:
    environ = panda_server.translated(request())
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/api/v1/system/is_alive", "")


@pytest.mark.parametrize(("given", "told"), [([], "5"), ([("content-length", "7")], "7")])
def test_an_answer_has_its_length(monkeypatch: pytest.MonkeyPatch, given: list[tuple[str, str]], told: str) -> None:
    def package(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", given)
        return [b"abc", b"de"]

    monkeypatch.setattr(panda_server.Mounted, "_load", lambda _: package)
    mounted = panda_server.Mounted(config.DatabaseSettings("sqlite", "", 0, "", "", "x", 1, None), None)
    seen: list[Any] = []
    assert mounted(request(), lambda *said: seen.extend(said)) == [b"abc", b"de"]
    assert (seen[0], [value for name, value in seen[1] if name.lower() == "content-length"]) == ("200 OK", [told])


def test_a_client_makes_no_labels_of_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    def package(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    monkeypatch.setattr(panda_server.Mounted, "_load", lambda _: package)
    mounted = panda_server.Mounted(config.DatabaseSettings("sqlite", "", 0, "", "", "x", 1, None), None)
    mounted(request(REQUEST_METHOD="BREW", **{"wsgi.url_scheme": "http"}), lambda *_: None)
    counted = {sample.labels["method"] for metric in metrics.REQUESTS.collect() for sample in metric.samples}
    assert "OTHER" in counted
    assert "BREW" not in counted


def test_a_checked_certificate_makes_the_variables_of_mod_ssl() -> None:
    environ = panda_server.translated(
        request(
            HTTP_X_SSL_CLIENT_VERIFY="SUCCESS", HTTP_X_SSL_CLIENT_S_DN="/CN=alice", HTTP_X_SSL_CLIENT_I_DN="/CN=ca",
            HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_FOR="192.0.2.1, 198.51.100.7",
        )
    )  # fmt: skip
    assert environ["SSL_CLIENT_S_DN"] == "/CN=alice"
    assert environ["SSL_CLIENT_I_DN"] == "/CN=ca"
    assert (environ["HTTPS"], environ["wsgi.url_scheme"]) == ("on", "https")
    assert environ["REMOTE_ADDR"] == "198.51.100.7"


def test_a_grid_proxy_is_its_owner_and_its_attributes_make_the_variables_of_mod_gridsite() -> None:
    proxy = {
        "HTTP_X_SSL_CLIENT_VERIFY": "SUCCESS",
        "HTTP_X_SSL_CLIENT_S_DN": "/CN=alice/CN=pilot",
        "HTTP_X_GRST_CONN_AURI_0": "dn:/CN=alice",
        "HTTP_X_GRST_VOMS_FQANS": "/atlas/Role=production/Capability=NULL;/atlas/Role=NULL/Capability=NULL",
    }
    environ = panda_server.translated(request(**proxy))
    assert environ["SSL_CLIENT_S_DN"] == "/CN=alice"
    attributes = {name: value for name, value in environ.items() if name.startswith("GRST_")}
    assert attributes == {"GRST_CRED_0": "VOMS /atlas/Role=production", "GRST_CRED_1": "VOMS /atlas"}
    limited = panda_server.translated(request(**{**proxy, "HTTP_X_SSL_CLIENT_S_DN": "/CN=alice/CN=limited proxy"}))
    assert limited["SSL_CLIENT_S_DN"] == "/CN=alice/CN=limited proxy"
    nobody = panda_server.translated(request(**{**proxy, "HTTP_X_SSL_CLIENT_VERIFY": "NONE"}))
    assert [name for name in nobody if name.startswith(("GRST_", "SSL_CLIENT_S"))] == []


@pytest.mark.parametrize("verify", ["NONE", "FAILED:expired", "GENEROUS", ""])
def test_a_certificate_that_was_not_checked_makes_nobody_known(verify: str) -> None:
    environ = panda_server.translated(request(HTTP_X_SSL_CLIENT_VERIFY=verify, HTTP_X_SSL_CLIENT_S_DN="/CN=alice"))
    assert "SSL_CLIENT_S_DN" not in environ
    assert [value for value in environ.values() if "alice" in str(value)] == []


def test_while_the_database_is_away_the_package_is_not_loaded_and_the_node_says_so() -> None:
    nowhere = DatabaseSettings("postgres", "127.0.0.1", 1, "panda", "x", "panda", 1, 300)
    mounted = panda_server.Mounted(nowhere, lambda environ, start_response: [b"own"])
    answers: list[str] = []

    def start_response(line: str, *_: Any) -> None:
        answers.append(line)

    (body,) = mounted(request(), start_response)
    assert answers == ["503 Service Unavailable"]
    assert json.loads(body)["message"] == "database unreachable, try again later"
    assert list(mounted(request(PATH_INFO="/node/live"), start_response)) == [b"own"]
    assert list(mounted(request(PATH_INFO="/server/panda/isAlive"), start_response)) == [b"own"]


def test_the_payload_is_what_the_environment_names(node: Any) -> None:
    assert payload.of(config.load(node.environment).payload) is bundled
    node.environment["PANDA_NODE_PAYLOAD"] = "panda-server"
    assert payload.of(node.settings().payload) is panda_server
    node.environment["PANDA_NODE_PAYLOAD"] = "other"
    told = node.run("config", "check").stdout
    assert "environment: PANDA_NODE_PAYLOAD=other: must be one of bundled, panda-server" in told


def test_the_schema_has_a_name_that_a_statement_can_hold(node: Any) -> None:
    node.server["schemaPANDA"] = "DOMA; DROP TABLE x"
    node.write()
    assert "schemaPANDA: is 'DOMA; DROP TABLE x'; must be the name of a schema" in node.run("config", "check").stdout


@pytest.mark.parametrize("service", ["jedi", "mcp"])
def test_the_bundled_application_says_that_it_has_no_such_service(node: Any, service: str) -> None:
    done = node.run(service)
    assert done.returncode == 2
    assert f"{service}: the bundled application has none" in done.stdout
