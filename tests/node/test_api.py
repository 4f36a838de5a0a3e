"""What a client, a load balancer and an operator get as answers."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

STATE = "/etc/panda/node_state"
PROTOCOLS = ["http", "https"]

# Asks a URL of the node from the node itself.
FETCH = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode())
"""


@pytest.fixture
def set_state(host: Any) -> Iterator[Callable[[str], None]]:
    """Puts the node into a state, as an operator does; its own one is put back."""
    before = host.file(STATE).content_string

    def write(state: str) -> None:
        host.run_expect([0], "printf %s %s > %s", "%s\\n", state, STATE)

    yield write
    write(before.strip())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_is_alive_in_the_old_spelling(outside: Any, protocol: str) -> None:
    answer = getattr(outside, protocol)("/server/panda/isAlive")
    assert (answer.status, answer.body) == (200, "alive=yes")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_is_alive_in_the_new_spelling(outside: Any, protocol: str) -> None:
    answer = getattr(outside, protocol)("/api/v1/system/is_alive")
    assert answer.status == 200
    assert answer.json["success"] is True
    assert answer.headers["Content-Type"].startswith("application/json")


def test_is_alive_asked_the_wrong_way_says_which_is_right(outside: Any) -> None:
    answer = outside.http("/api/v1/system/is_alive", method="POST")
    assert (answer.status, answer.json["success"]) == (200, False)
    assert answer.json["message"] == "expecting GET, received POST"


@pytest.mark.parametrize("path", ["/server/panda/noSuchMethod", "/api/v1/system/noSuchMethod"])
def test_an_unknown_method_is_named_in_its_refusal(outside: Any, path: str) -> None:
    answer = outside.http(path)
    assert (answer.status, answer.body) == (403, "ERROR : method noSuchMethod is forbidden")


def test_what_is_not_ours_is_not_answered(outside: Any) -> None:
    assert outside.http("/").status in (403, 404)
    assert outside.http("/cgi-bin/x").status in (403, 404)


def test_live_says_that_the_process_serves_and_which_release_it_is(
    host: Any, settings: dict[str, Any], outside: Any
) -> None:
    answer = outside.http("/node/live")
    assert answer.status == 200
    assert answer.json["live"] is True
    release = host.check_output("readlink %s", settings["panda_server_prefix"])
    assert answer.json["release"] == release.rpartition("/")[2]


def test_ready_says_that_the_node_should_get_work(outside: Any) -> None:
    answer = outside.http("/node/ready")
    assert (answer.status, answer.json) == (200, {"ready": True, "state": "production", "reasons": []})


@pytest.mark.parametrize(
    ("written", "state"), [("draining", "draining"), ("maintenance", "maintenance"), ("prodution", "unknown")]
)
def test_a_node_out_of_production_is_not_ready_but_alive(
    outside: Any, set_state: Callable[[str], None], written: str, state: str
) -> None:
    set_state(written)
    answer = outside.http("/node/ready")
    assert (answer.status, answer.json["state"]) == (503, state)
    assert state in answer.json["reasons"][0]
    assert outside.alive()
    set_state("production")
    assert outside.http("/node/ready").status == 200


@pytest.mark.parametrize("path", ["/node/metrics", "/server-status"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_are_for_those_only_who_are_named(
    outside: Any, settings: dict[str, Any], protocol: str, path: str
) -> None:
    with socket.create_connection((outside.address, outside.port)) as connection:
        own = ip_address(connection.getsockname()[0])
    named = any(own in ip_network(client) for client in settings["panda_server_monitoring_clients"])
    assert getattr(outside, protocol)(path).status == (200 if named else 403)


def test_metrics_count_requests_of_all_workers(host: Any, outside: Any, settings: dict[str, Any]) -> None:
    def counted() -> float:
        url = f"http://127.0.0.1:{outside.port}/node/metrics"
        status, _, body = host.check_output(
            "%s/bin/python -c %s %s", settings["panda_server_prefix"], FETCH, url
        ).partition("\n")
        assert status == "200"
        series = 'panda_node_requests_total{method="GET",route="/server/panda/isAlive",status="200"}'
        return sum(float(line.split()[-1]) for line in body.splitlines() if line.startswith(series))

    before = counted()
    for _ in range(20):
        outside.http("/server/panda/isAlive")
    assert counted() - before == 20


def test_a_request_can_be_found_in_the_logs_by_its_id(host: Any, outside: Any, settings: dict[str, Any]) -> None:
    answer = outside.https("/api/v1/system/is_alive")
    identity = answer.headers["X-Request-Id"]
    line = host.check_output("grep -F %s %s/panda-Entry.log", identity, settings["panda_server_logdir"])
    assert "GET /api/v1/system/is_alive 200" in line


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_hyphen(outside: Any) -> None:
    """WSGI spells both alike: what httpd removes under one name could come back under the other."""
    given = {"X-Request-Id": "given-by-the-client"}
    assert outside.http("/node/live", headers=given).headers["X-Request-Id"] == "given-by-the-client"
    smuggled = {"X_Request_Id": "given-by-the-client"}
    assert outside.http("/node/live", headers=smuggled).headers["X-Request-Id"] != "given-by-the-client"


def test_errors_show_nothing_of_the_inside(outside: Any) -> None:
    answer = outside.http("/api/v1/system/is_alive", method="DELETE")
    assert answer.json["success"] is False
    assert not re.search(r"\d", answer.headers["Server"])
    assert "Traceback" not in json.dumps(answer.json)
