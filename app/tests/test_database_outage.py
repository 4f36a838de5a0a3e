"""What callers of the API are told while the database hangs or is away, and that all goes on after."""

import time
from typing import Any

import pytest
from panda_node.db import drivers


def test_a_database_that_hangs_is_given_up_after_the_time_limit_and_used_again_after(
    postgres_node: Any, postgres: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "GRACE", 0)
    monkeypatch.setattr(drivers.connect, "__defaults__", (1, False))
    postgres_node.server.update(dbtimeout=1)
    api = request.getfixturevalue("postgres_api")
    api.submit(nEvents=1)
    api.daemon("split_tasks")
    headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=pilot"}
    headers["Content-Type"] = "application/json"
    with postgres.hanging():
        for _ in range(2):  # in the middle of its work, and while connecting
            start = time.monotonic()
            answer = api.client.simulate_post(
                "/api/v1/pilot/acquire_jobs", body='{"site_name": "TEST_SITE"}', headers=headers
            )
            assert (answer.status_code, answer.json["success"]) == (503, False)
            assert time.monotonic() - start < 5
    assert len(api.acquire()) == 1


def test_without_the_database_calls_are_told_so_and_work_again_by_themselves(postgres_api: Any, postgres: Any) -> None:
    api = postgres_api
    api.submit(nEvents=1)
    api.daemon("split_tasks")
    headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=pilot"}
    body = '{"site_name": "TEST_SITE"}'
    headers["Content-Type"] = "application/json"
    postgres.stop()
    try:
        for _ in range(2):
            answer = api.client.simulate_post("/api/v1/pilot/acquire_jobs", body=body, headers=headers)
            assert (answer.status_code, answer.json["success"]) == (503, False)
            assert answer.headers["retry-after"] == "10"
            assert "127.0.0.1" not in answer.text
        assert api.client.simulate_post("/server/panda/getJob", body="siteName=A", headers=headers).status_code == 503
        assert api.get("system/is_alive")["success"]
    finally:
        postgres.start()
    assert len(api.acquire()) == 1
