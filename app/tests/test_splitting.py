"""Tasks of many input files: how many make jobs, and that none of them holds up the others."""

from typing import Any

import pytest
from panda_node.daemon.jobs import split_tasks
from panda_node.db.tables import tasks
from panda_node.errors import RefusalError
from panda_node.work import splitting
from panda_node.work.splitting import split
from sqlalchemy import update


def test_the_files_of_a_task_and_of_a_job_have_limits() -> None:
    many, output = ["f"] * (splitting.MAX_FILES + 1), {"param_type": "output", "hidden": True, "value": "o"}
    dataset = {"param_type": "input", "dataset": "d", "files": many}
    for parameters, problem in (
        ({"pfnList": many, "nFilesPerJob": 10**9}, "100001 input files are named, 100000 at most"),
        ({"jobParameters": [dataset], "nFilesPerJob": 10**9}, "100001 input files are named"),
        ({"pfnList": many[:20_001], "nFilesPerJob": 10**9}, "a job of 20001 files is asked for, 20000 at most"),
        ({"container_name": "x" * 60_000, "nEvents": 1000}, "together are longer"),
        ({"jobParameters": [output] * 20_001}, "a job of 20001 files"),
    ):
        with pytest.raises(RefusalError, match=problem):
            split(1, "S", "trf", {"jobParameters": [], **parameters})
    assert len(split(1, "S", "trf", {"jobParameters": [], "pfnList": many[1:], "nFilesPerJob": 20_000}).jobs) == 5


def test_a_task_over_which_a_run_was_killed_comes_last_in_the_next(
    sqlite_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sqlite_api.submit(taskName="first"), sqlite_api.submit(taskName="second")
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(tasks).values(modified=tasks.c.modified - 60))
    begun = []

    def killed(task_id: int, *_: object) -> None:
        begun.append(task_id)
        raise SystemExit

    monkeypatch.setattr(split_tasks, "split", killed)
    for _ in range(2):
        with pytest.raises(SystemExit):
            sqlite_api.daemon("split_tasks")
    assert begun == [first, second]
