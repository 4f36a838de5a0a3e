"""Jobs and tasks as clients submit them: what is kept of them, and how much is taken."""

import contextlib
import json
import threading
from typing import Any

import pytest
from panda_node.db.tables import files, jobs, tasks
from panda_node.web.groups import job as job_group
from panda_node.work import jobs as work
from panda_node.work import tasks as task_work
from panda_node.work.job_specification import FILE_ATTRIBUTES, JOB_ATTRIBUTES, MAX_FILES
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


def test_a_submission_has_limits(sqlite_api: Any) -> None:
    lfns: list[dict[str, object]] = [{"lfn": "f"}] * (MAX_FILES // 2)
    for states, problem in (
        ([state([], jobParameters="x" * 100_001)], "the attributes of a job are longer than 100000 characters"),
        ([state([], metadata=["x" * 1000] * 100)], "the attributes of a job are longer"),
        ([state(lfns), state([*lfns, {"lfn": "g"}])], f"{MAX_FILES + 1} files were submitted, {MAX_FILES} at most"),
    ):
        answer = submit(sqlite_api, *states)
        assert (answer["success"], problem in answer["message"]) == (False, True), answer["message"]
    assert sqlite_api.count(jobs) == {}


def test_many_large_jobs_are_handed_out_and_described_in_several_answers(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MAX_ANSWER", 30_000)
    large = state([{"lfn": f"f{number}"} for number in range(5)], jobParameters="x" * 10_000)
    huge = state([], jobParameters="x" * 50_000)
    numbers = [job[0] for job in submit(api, huge, large, large, large, large)["data"]]
    assert [len(api.acquire(n_jobs=100)) for _ in range(4)] == [1, 2, 2, 0], "one at least, whatever its size"
    monkeypatch.setattr(job_group, "MAX_DESCRIBED", 90_000)
    answer = api.post("job/get_description", job_ids=numbers)
    assert (answer["success"], "ask for fewer of these 5 jobs at once" in answer["message"]) == (False, True)
    assert len(api.post("job/get_description", job_ids=numbers[:3])["data"]) == 3
