"""Loading queues, and the locks between nodes."""

from typing import Any

import pytest
from panda_node.db import locks, queues
from panda_node.db.pool import Database
from panda_node.errors import DatabaseRefusalError


@pytest.fixture
def database(any_node: Any) -> Database:
    any_node.install_schema()
    return Database(any_node.settings().database)


def test_loading_adds_and_replaces(any_node: Any, database: Database) -> None:
    any_node.load_queues({"A": {"status": "online"}, "B": {"note": "é" * 100_000}})
    any_node.load_queues({"A": {"status": "offline"}})
    stored = queues.all_queues(database)
    assert stored["A"] == {"status": "offline", "siteid": "A"}
    assert stored["B"] == {"note": "é" * 100_000, "siteid": "B"}


@pytest.mark.parametrize("name", ["", "../etc/passwd", ".hidden", "a/b", "a b", "x" * 101, "a\n"])
def test_a_name_that_is_no_file_name_is_refused_and_nothing_is_stored(database: Database, name: str) -> None:
    with pytest.raises(queues.BadQueueError, match="a name has letters"):
        queues.save_queues(database, {"GOOD": {}, name: {}})
    assert queues.all_queues(database) == {}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[]", "bad.json: must be one JSON object"),
        ("{", "bad.json: not a JSON document"),
        ('{"A": 5}', "queue A: must be a JSON object"),
    ],
)
def test_what_is_bad_in_a_file_is_named(node: Any, content: str, fault: str) -> None:
    node.install_schema()
    file = node.directory / "bad.json"
    file.write_text(content)
    done = node.run("queue", "load", str(file))
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert fault in done.stdout


def test_without_the_schema_there_is_a_clear_answer(any_node: Any) -> None:
    with pytest.raises(DatabaseRefusalError, match="schedconfig_json"):
        queues.all_queues(Database(any_node.settings().database, create=True))


def test_one_owner_at_a_time_and_one_run_per_period(database: Database) -> None:
    assert locks.acquire(database, "job", "node-1", period=0, timeout=60)
    assert not locks.acquire(database, "job", "node-2", period=0, timeout=60)
    locks.release(database, "job", "node-2")
    assert not locks.acquire(database, "job", "node-2", period=0, timeout=60), "only the owner may release"
    locks.release(database, "job", "node-1")
    assert not locks.acquire(database, "job", "node-2", period=60, timeout=60), "it ran within the period"
    assert locks.acquire(database, "job", "node-2", period=0, timeout=0)
    assert locks.acquire(database, "job", "node-3", period=0, timeout=60), "a dead owner's lock ends by itself"
