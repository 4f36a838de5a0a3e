"""The application's answers, its request log and its metrics."""

import re
import time
from typing import Any

import falcon
import pytest
from falcon import testing
from panda_node import config, readiness, web
from panda_node.db.pool import Database
from panda_node.web import api

ENVELOPE = {"success": True, "message": "", "data": None}


def client_of(node: Any) -> testing.TestClient:
    return testing.TestClient(web.create_application(config.load(node.environment)))


@pytest.fixture
def client(node: Any) -> testing.TestClient:
    node.install_schema()
    return client_of(node)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_is_alive_in_the_old_spelling(client: testing.TestClient, method: str) -> None:
    answer = client.simulate_request(method, "/server/panda/isAlive")
    assert (answer.status_code, answer.text) == (200, "alive=yes")
    assert answer.headers["content-type"] == "text/plain"


def test_is_alive_in_the_new_spelling(client: testing.TestClient) -> None:
    answer = client.simulate_get("/api/v1/system/is_alive")
    assert (answer.status_code, answer.json) == (200, ENVELOPE)
    assert answer.text == '{"success": true, "message": "", "data": null}'
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_wrong_http_method_is_told_so_in_the_envelope(client: testing.TestClient, method: str) -> None:
    answer = client.simulate_request(method, "/api/v1/system/is_alive")
    assert answer.status_code == 200
    assert answer.json == {"success": False, "message": f"expecting GET, received {method}", "data": None}


@pytest.mark.parametrize(
    "path", ["/api/v1/system/nope", "/api/v1/nope/nope", "/api/v2/a/nope", "/api/nope", "/server/panda/nope"]
)
def test_an_unknown_method_is_forbidden(client: testing.TestClient, path: str) -> None:
    for method in ("GET", "POST"):
        answer = client.simulate_request(method, path)
        assert (answer.status_code, answer.text) == (403, "ERROR : method nope is forbidden")
        assert answer.headers["content-type"].startswith("text/plain")


def test_other_paths_are_not_found(client: testing.TestClient) -> None:
    assert client.simulate_get("/").status_code == 404
    assert client.simulate_get("/node/nope").status_code == 404
    assert client.simulate_post("/node/ready").status_code == 405


@pytest.mark.parametrize("path", ["/node/live", "/node/ready", "/server/panda/isAlive", "/api/v1/system/is_alive"])
def test_probes_may_ask_by_head(client: testing.TestClient, path: str) -> None:
    answer = client.simulate_head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_ready_in_production(client: testing.TestClient) -> None:
    answer = client.simulate_get("/node/ready")
    assert (answer.status_code, answer.json) == (200, {"ready": True, "state": "production", "reasons": []})


@pytest.mark.parametrize("state", ["draining", "maintenance"])
def test_not_ready_in_another_state_but_alive(node: Any, client: testing.TestClient, state: str) -> None:
    node.state_file.write_text(state)
    answer = client.simulate_get("/node/ready")
    expected = {"ready": False, "state": state, "reasons": [f"node state is {state}"]}
    assert (answer.status_code, answer.json) == (503, expected)
    assert client.simulate_get("/server/panda/isAlive").text == "alive=yes"
    assert client.simulate_get("/node/live").json["live"] is True


@pytest.mark.parametrize("content", [None, "", "prodcution", b"\xff"])
def test_not_ready_without_a_known_state(node: Any, client: testing.TestClient, content: str | bytes | None) -> None:
    if content is None:
        node.state_file.unlink()
    else:
        node.state_file.write_bytes(content if isinstance(content, bytes) else content.encode())
    answer = client.simulate_get("/node/ready")
    assert (answer.status_code, answer.json["state"]) == (503, "unknown")


def test_not_ready_without_the_schema(any_node: Any) -> None:
    if any_node.server["backend"] == "sqlite":
        any_node.install_schema()
        with Database(any_node.settings().database).writing("test") as connection:
            connection.exec_driver_sql("DROP TABLE pandadb_version")
    answer = client_of(any_node).simulate_get("/node/ready")
    assert answer.status_code == 503
    assert answer.json["reasons"] == [
        "DB schema check: no schema is installed, this release needs 1.2.0; run 'panda-node schema upgrade'"
    ]


def test_reasons_come_together_and_name_no_host(postgres_node: Any) -> None:
    postgres_node.server["dbport"] = 1
    postgres_node.write()
    postgres_node.state_file.write_text("draining")
    answer = client_of(postgres_node).simulate_get("/node/ready")
    assert answer.json["reasons"] == ["node state is draining", "database unreachable"]
    assert "postgres 127.0.0.1:1/" in postgres_node.log("panda-DBProxyPool.log")


def test_probes_within_a_second_ask_the_database_once(node: Any, client: testing.TestClient) -> None:
    for _ in range(20):
        assert client.simulate_get("/node/ready").status_code == 200
    assert node.log("panda-DBProxy.log").count("schema version") <= 2


def test_every_request_has_an_id_and_one_line(node: Any, client: testing.TestClient) -> None:
    answer = client.simulate_get("/server/panda/isAlive", headers={"X-Forwarded-For": "6.6.6.6, 10.1.2.3"})
    request_id = answer.headers["x-request-id"]
    line = rf"{request_id} GET /server/panda/isAlive 200 [0-9.]+ ms client=10\.1\.2\.3 user=-\n"
    assert re.fullmatch(rf"[0-9-]+ [0-9:,]+ panda\.log\.Entry: INFO     {line}", node.log("panda-Entry.log"))
    given = client.simulate_get("/node/nope", headers={"X-Request-Id": "httpd-12345"})
    assert given.headers["x-request-id"] == "httpd-12345"
    assert "httpd-12345 GET /node/nope 404" in node.log("panda-Entry.log")


@pytest.mark.parametrize("forged", ["short", "x" * 65, "with space in it", "quote\"'<>;--"])
def test_a_strange_request_id_is_not_taken(client: testing.TestClient, forged: str) -> None:
    assert client.simulate_get("/node/live", headers={"X-Request-Id": forged}).headers["x-request-id"] != forged


def test_a_client_cannot_forge_log_lines(node: Any, client: testing.TestClient) -> None:
    client.simulate_get("/a\n2026-01-01 forged", headers={"X-Forwarded-For": "1.2.3.4\r\nforged"})
    assert node.log("panda-Entry.log").count("\n") == 1


def test_nothing_of_the_inside_is_in_an_answer(
    node: Any, client: testing.TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: falcon.Request) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setitem(api.METHODS, ("system", "is_alive"), api.Method("GET", broken))
    answer = client.simulate_get("/api/v1/system/is_alive")
    assert (answer.status_code, answer.json["success"]) == (500, False)
    assert answer.headers["x-request-id"] in answer.json["message"]
    assert "secret" not in answer.text
    assert "RuntimeError: secret detail" in node.log("panda-Entry.log")


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_metrics(client: testing.TestClient) -> None:
    client.simulate_get("/server/panda/isAlive")
    client.simulate_request("BREW", "/random/path")
    answer = client.simulate_get("/node/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    expected = [
        r'panda_node_requests_total{method="GET",route="/server/panda/isAlive",status="200"} \d',
        r'panda_node_requests_total{method="OTHER",route="other",status="404"} \d',
        r'panda_node_request_seconds_bucket{le="0.01",route="/server/panda/isAlive"} \d',
        r'panda_node_build_info{python="3.[0-9.]+",release="[^"]+",version="0.1.0"} 1.0',
        r'panda_node_state{state="production"} 1.0',
        r'panda_node_state{state="draining"} 0.0',
        r"panda_node_db_connections_in_use 0.0",
        r"panda_node_db_connections_limit 1.0",
    ]
    for line in expected:
        assert re.search(f"^{line}", answer.text, re.MULTILINE), line
    assert "/random/path" not in answer.text


def test_a_database_that_hangs_delays_one_probe_by_its_time_limit_and_the_next_not_at_all(
    postgres_node: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(readiness, "TIME_LIMIT", 0.5)
    monkeypatch.setattr(readiness, "CACHE_SECONDS", 0.05)
    postgres_node.install_schema()
    client = client_of(postgres_node)
    assert client.simulate_get("/node/ready").status_code == 200
    with postgres.hanging():
        eventually(lambda: client.simulate_get("/node/ready").status_code == 503, 3)
        reasons = client.simulate_get("/node/ready").json["reasons"]
        assert reasons == ["database does not answer within 0.5 s"]
        start = time.monotonic()
        for _ in range(50):
            assert client.simulate_get("/node/ready").status_code == 503
        assert time.monotonic() - start < 0.5
    eventually(lambda: client.simulate_get("/node/ready").status_code == 200, 10)


def test_outage_and_recovery_without_a_hand(postgres_node: Any, postgres: Any, eventually: Any) -> None:
    postgres_node.install_schema()
    client = client_of(postgres_node)
    assert client.simulate_get("/node/ready").status_code == 200
    postgres.stop()
    try:
        eventually(lambda: client.simulate_get("/node/ready").status_code == 503, 3)
        assert client.simulate_get("/node/ready").json["reasons"] == ["database unreachable"]
        assert client.simulate_get("/server/panda/isAlive").status_code == 200
    finally:
        postgres.start()
    eventually(lambda: client.simulate_get("/node/ready").status_code == 200, 5)
    log = postgres_node.log("panda-DBProxyPool.log")
    assert log.count("not ready: database unreachable") == 1
    assert log.count("ready: database and schema are good") == 1
