"""A database that cannot be written, or is no longer there, while the application runs."""

import contextlib
from typing import Any

import pytest
from panda_node import readiness

HEADERS = {
    "X-SSL-Client-Verify": "SUCCESS",
    "X-SSL-Client-S-DN": "/DC=test/CN=pilot",
    "Content-Type": "application/json",
}


def acquire(api: Any) -> Any:
    return api.client.simulate_post("/api/v1/pilot/acquire_jobs", body='{"site_name": "TEST_SITE"}', headers=HEADERS)


def execute(server: Any, *statements: str) -> None:
    """As the database's operator."""
    if hasattr(server, "_execute"):
        for statement in statements:
            server._execute(statement)
        return
    with contextlib.closing(server.connect("postgres")) as connection:
        connection.set_session(readonly=False, autocommit=True)
        for statement in statements:
            connection.cursor().execute(statement)


READ_ONLY: dict[str, list[tuple[str, ...]]] = {
    "postgres": [
        ("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"),
        ("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"),
    ],
    "mariadb": [("SET GLOBAL read_only = 1",), ("SET GLOBAL read_only = 0",)],
}


@pytest.mark.parametrize("api", READ_ONLY, indirect=True)
def test_a_database_that_takes_no_writes_is_an_outage(
    api: Any, request: pytest.FixtureRequest, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "CACHE_SECONDS", 0.05)
    backend = request.node.callspec.params["api"]
    server = request.getfixturevalue(backend)
    api.submit(nEvents=1)
    api.daemon("split_tasks")
    assert api.client.simulate_get("/node/ready").status_code == 200
    closed, opened = READ_ONLY[backend]
    execute(server, *closed)
    try:
        eventually(lambda: api.client.simulate_get("/node/ready").status_code == 503)
        assert acquire(api).status_code == 503
        assert api.client.simulate_get("/node/ready").json["reasons"] == ["database is read-only"]
        assert api.get("system/is_alive")["success"]
    finally:
        execute(server, *opened)
    eventually(lambda: api.client.simulate_get("/node/ready").status_code == 200)
    assert len(api.acquire()) == 1


def test_a_database_that_went_away_is_an_outage(postgres_api: Any, postgres: Any) -> None:
    name = postgres_api.node.server["dbname"]
    execute(postgres, f"ALTER DATABASE {name} RENAME TO {name}_away")
    answer = acquire(postgres_api)
    assert (answer.status_code, answer.json["message"]) == (503, "database unreachable, try again later")
    assert postgres_api.client.simulate_get("/node/ready").status_code == 503
    assert f'unreachable: FATAL: database "{name}" does not exist' in postgres_api.node.log("panda-DBProxyPool.log")
    execute(postgres, f"ALTER DATABASE {name}_away RENAME TO {name}")
    assert acquire(postgres_api).json["message"] == "No jobs in PanDA"
