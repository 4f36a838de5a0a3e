"""Jobs and tasks as clients submit them: what is kept of them, and how much is taken."""

import contextlib
import json
import threading
from typing import Any

import pytest
from panda_node.db.tables import files, tasks
from panda_node.work import tasks as task_work
from panda_node.work.job_specification import FILE_ATTRIBUTES, JOB_ATTRIBUTES
from sqlalchemy import select


def state(its_files: list[dict[str, object]], **attributes: object) -> list[object]:
    """A job as the client's JobSpec writes it."""
    values = {"computingSite": "TEST_SITE", **attributes}
    listed = [[file.get(name, "NULL") for name in FILE_ATTRIBUTES] for file in its_files]
    return [*(values.get(name, "NULL") for name in JOB_ATTRIBUTES), listed]


def submit(api: Any, *states: list[object]) -> Any:
    return api.post("job/submit", jobs=json.dumps(states))


def test_a_file_may_be_as_large_as_files_are(api: Any) -> None:
    assert submit(api, state([{"lfn": "big", "type": "input", "fsize": 3_000_000_000}]))["success"]
    with api.database.reading("test") as connection:
        assert connection.scalar(select(files.c.size)) == 3_000_000_000
    (job,) = api.acquire()
    assert job["fsize"] == "3000000000"


def test_a_task_name_is_in_use_once_even_if_two_ask_for_it_together(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"taskName": "wanted", "uniqueTaskName": True}
    api.submit("bob", **name)
    both, add_row, answers = threading.Barrier(2), task_work.add_row, list[bool]()

    def add_together(*arguments: Any) -> int:
        with contextlib.suppress(threading.BrokenBarrierError):  # as it should: one of the two comes here alone
            both.wait(0.5)
        return add_row(*arguments)

    monkeypatch.setattr(task_work, "add_row", add_together)

    def ask() -> None:
        answers.append(api.post("task/submit", task_parameters=name)["success"])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [False, True]
    assert api.count(tasks) == {"registered": 2}
