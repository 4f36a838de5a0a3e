"""What the daemon does: it writes the queues' definitions, which httpd serves."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

QUEUE = "TEST_NODE_QUEUE"


@pytest.fixture
def queue(host: Any, service: Any, units: Any) -> Iterator[dict[str, Any]]:
    """A queue in the database, in no file yet; both are gone afterwards."""
    definition = {"cloud": "TEST", "corecount": 8, "maxtime": 345600}
    path = "/var/tmp/test-node-queue.json"
    host.run_expect([0], "printf %s %s > %s", "%s", json.dumps({QUEUE: definition}), path)
    loaded = service.run("panda-node", "queue", "load", path)
    assert (loaded.rc, loaded.stdout.strip()) == (0, "queues: 1 loaded"), loaded.stderr
    yield definition
    service.query(f"DELETE FROM schedconfig_json WHERE panda_queue = '{QUEUE}'")
    units.control("restart", "panda_daemon")
    host.run_expect([0], "rm -f %s", path)


def test_all_queues_are_served(outside: Any) -> None:
    answer = outside.http("/cache/schedconfig/schedconfig.all.json")
    assert answer.status == 200
    assert isinstance(answer.json, dict)


def test_caches_may_keep_the_queues_for_five_minutes(outside: Any) -> None:
    assert outside.http("/cache/schedconfig/schedconfig.all.json").headers["Cache-Control"] == "max-age=300"


def test_a_new_queue_is_served_to_every_kind_of_reader(
    host: Any,
    units: Any,
    outside: Any,
    settings: dict[str, Any],
    eventually: Callable[..., None],
    queue: dict[str, Any],
) -> None:
    units.control("restart", "panda_daemon")
    eventually(lambda: outside.status(f"/cache/schedconfig/{QUEUE}.all.json"), 200, within=20)
    assert outside.http(f"/cache/schedconfig/{QUEUE}.all.json").json == queue | {"siteid": QUEUE}
    assert outside.http(f"/cache/schedconfig/{QUEUE}.pilot.json").json["corecount"] == 8
    assert outside.http(f"/cache/schedconfig/{QUEUE}.factory.json").json["cloud"] == "TEST"
    assert outside.http("/cache/schedconfig/schedconfig.all.json").json[QUEUE]["corecount"] == 8
    file = f"{settings['panda_server_schedconfig_cache_dir']}/{QUEUE}.all.json"
    assert host.file(file).user == settings["panda_server_user"]


def test_a_queue_that_is_gone_is_served_no_more(
    units: Any, outside: Any, service: Any, eventually: Callable[..., None], queue: dict[str, Any]
) -> None:
    units.control("restart", "panda_daemon")
    eventually(lambda: outside.status(f"/cache/schedconfig/{QUEUE}.all.json"), 200, within=20)
    service.query(f"DELETE FROM schedconfig_json WHERE panda_queue = '{QUEUE}'")
    units.control("restart", "panda_daemon")
    eventually(lambda: outside.status(f"/cache/schedconfig/{QUEUE}.all.json"), 404, within=20)


def test_it_stops_at_once_when_told_to(host: Any, units: Any) -> None:
    began = time.monotonic()
    units.control("stop", "panda_daemon")
    took = time.monotonic() - began
    units.control("start", "panda_daemon")
    assert took < 8
    assert units.show("panda_daemon.service", "Result") == "success"
    journal = host.check_output("journalctl --no-pager --output=cat --lines=20 -u panda_daemon.service")
    assert not re.search(r"Killing process|SIGKILL|timed out", journal)
