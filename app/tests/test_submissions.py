"""Jobs and tasks as clients submit them: what is kept of them, and how much is taken."""

import json
from typing import Any

from panda_node.db.tables import files
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
