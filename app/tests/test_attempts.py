"""When a job that did not finish gets another attempt, and when it does not: killed work stays dead."""

import threading
from typing import Any

import pytest
from panda_node.db.tables import jobs, tasks
from panda_node.work import jobs as work
from panda_node.work import tasks as task_work
from sqlalchemy import select, update


def start(api: Any, **changes: object) -> tuple[int, int]:
    """A task of one job that a pilot runs, with attempts left: the numbers of both."""
    task_id = api.submit(**{"nEvents": 1, "maxAttempt": 3, **changes})
    api.daemon("split_tasks")
    (job,) = api.acquire()
    api.report(job["PandaID"], "running")
    return task_id, job["PandaID"]


def age(api: Any) -> None:
    """Makes every job look as if it had last been heard of long ago."""
    with api.database.writing("test") as connection:
        connection.execute(update(jobs).values(modified=work.now() - 2000))


def test_the_only_attempt_is_not_lost_with_the_answer_that_handed_it_out(sqlite_api: Any) -> None:
    """As when a worker dies between the two: no pilot knows of the job."""
    sqlite_api.submit(nEvents=1, maxAttempt=1)
    sqlite_api.daemon("split_tasks")
    for attempt in range(1, 2 + work.UNHEARD_OF):
        (job,) = sqlite_api.acquire()
        assert job["attemptNr"] == attempt
        age(sqlite_api)
        sqlite_api.daemon("expire_heartbeats")
    assert sqlite_api.acquire() == [], "nor is it handed out for ever"


def test_the_only_attempt_that_began_is_the_only_one(sqlite_api: Any) -> None:
    _, job_id = start(sqlite_api, maxAttempt=1)
    age(sqlite_api)
    assert sqlite_api.daemon("expire_heartbeats") == ["1 jobs expired"]
    assert sqlite_api.report(job_id, "finished")["data"]["command"] == "alreadydone"
    assert sqlite_api.acquire() == []


@pytest.mark.parametrize("status", ["failed", "finished"])
@pytest.mark.parametrize("group", ["task", "job"])
def test_a_job_that_is_killed_after_its_report_is_not_tried_again(sqlite_api: Any, group: str, status: str) -> None:
    task_id, job_id = start(sqlite_api)
    sqlite_api.report(job_id, status)
    killed: dict[str, object] = {"task_id": task_id} if group == "task" else {"job_ids": [job_id]}
    assert sqlite_api.post(f"{group}/kill", **killed)["success"]
    assert sqlite_api.daemon("add_main") == ["0 jobs finished, 0 failed, 1 cancelled"]
    assert sqlite_api.count(jobs) == {"cancelled": 1}
    ended = {"task": "aborted", "job": "failed"}[group]
    assert sqlite_api.daemon("close_tasks") == [f"1 tasks: 1 {ended}"]


def test_a_task_that_finishes_softly_gets_no_new_attempts(sqlite_api: Any) -> None:
    task_id, job_id = start(sqlite_api)
    assert sqlite_api.post("task/finish", task_id=task_id, soft=True)["success"]
    sqlite_api.report(job_id, "failed")
    assert sqlite_api.daemon("add_main", "close_tasks")[1] == "1 tasks: 1 failed"
    assert sqlite_api.acquire() == []


def test_a_kill_between_the_look_at_a_silent_job_and_its_end_counts(api: Any) -> None:
    _, job_id = start(api)
    with api.database.reading("test") as connection:
        seen = connection.execute(select(jobs)).one()
    assert api.post("job/kill", job_ids=[job_id])["data"] == [True]
    with api.database.writing("test") as connection:
        assert work.fail(connection, seen, "server", "lost heartbeat")
    assert api.count(jobs) == {"failed": 1}


@pytest.mark.parametrize("api", ["postgres", "mariadb"], indirect=True)
def test_a_kill_during_the_making_of_the_next_attempt_ends_that_too(api: Any) -> None:
    task_id, _ = start(api)
    killer = threading.Thread(target=lambda: api.post("task/kill", task_id=task_id))
    with api.database.writing("test") as connection:
        seen = connection.execute(select(jobs)).one()
        assert work.fail(connection, seen, "server", "lost heartbeat")
        killer.start()
        killer.join(0.5)
    killer.join(10)
    assert api.count(jobs) == {"failed": 1, "cancelled": 1}


@pytest.mark.parametrize("api", ["postgres", "mariadb"], indirect=True)
def test_a_kill_and_a_failure_at_once_do_not_lock_each_other_out(api: Any) -> None:
    task_id, _ = start(api)
    with api.database.reading("test") as connection:
        seen = connection.execute(select(jobs)).one()
        task = connection.execute(select(tasks)).one()
    errors: list[Exception] = []

    def fail() -> None:
        try:
            with api.database.writing("test") as connection:
                work.fail(connection, seen, "server", "lost heartbeat")
        except Exception as error:
            errors.append(error)

    failing = threading.Thread(target=fail)
    with api.database.writing("test") as connection:
        connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(vo="x"))
        failing.start()
        failing.join(0.5)
        task_work.kill(connection, task)
    failing.join(10)
    assert (errors, api.count(jobs)) == ([], {"failed": 1})
