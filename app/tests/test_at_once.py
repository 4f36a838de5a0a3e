"""What several clients or pilots ask of the nodes in the same instant."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from panda_node.db.tables import workers
from sqlalchemy import insert, select


def at_once(call: Callable[[], Any], times: int = 6) -> list[Any]:
    """What a call returns when several threads make it together."""
    start = threading.Barrier(times)
    answers: list[Any] = []

    def run() -> None:
        start.wait(10)
        answers.append(call())

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == times
    return answers


def many_connections(api: Any) -> Any:
    api.node.server["nDBConnection"] = 8
    return type(api)(api.node)


def test_two_pilots_of_a_worker_that_nobody_has_heard_of(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api = many_connections(api)
    api.submit(nEvents=4)
    api.daemon("split_tasks")
    if api.database.engine.dialect.name != "sqlite":  # where one waits for the other to commit
        both = threading.Barrier(2)

        def together(table: Any) -> Any:
            if table is workers:
                both.wait(10)
            return insert(table)

        monkeypatch.setattr("panda_node.work.jobs.insert", together)
    taken = at_once(lambda: api.acquire(harvester_id="h", worker_id=5), 2)
    assert len({jobs[0]["PandaID"] for jobs in taken}) == 2
    with api.database.reading("test") as connection:
        assert [row.jobs for row in connection.execute(select(workers))] == [2]
