"""Jobs without a task: what their submitter may say of them."""

import json
from typing import Any

import pytest
from panda_node.work.job_specification import JOB_ATTRIBUTES

ALICE = "/DC=test/CN=alice"
FORGED = {"prodUserID": "/DC=test/CN=bob", "currentPriority": 2147483647, "assignedPriority": 2147483647}


def submit(api: Any, who: str, **attributes: object) -> int:
    job = {"computingSite": "TEST_SITE", "prodSourceLabel": "user", **attributes}
    answer = api.post("job/submit", who, jobs=json.dumps([[*(job.get(name) for name in JOB_ATTRIBUTES), []]]))
    return int(answer["data"][0][0])


def test_a_user_cannot_submit_as_another_nor_ahead_of_everybody(sqlite_api: Any) -> None:
    job_id = submit(sqlite_api, "alice", **FORGED)
    modest = submit(sqlite_api, "alice", currentPriority=10)
    (described,) = sqlite_api.get("job/get_description", f"job_ids={job_id}")["data"]
    assert (described["prodUserID"], described["prodUserName"]) == (ALICE, "alice")
    assert described["currentPriority"] == 1000
    taken, last = sqlite_api.acquire(n_jobs=2)
    assert (taken["PandaID"], taken["prodUserID"], taken["currentPriority"]) == (job_id, ALICE, 1000)
    assert (last["PandaID"], last["currentPriority"]) == (modest, 10), "one may step back"


def test_production_may_submit_for_others_but_a_users_job_is_its_submitters(sqlite_api: Any) -> None:
    submit(sqlite_api, "pilot", **FORGED, prodSourceLabel="managed")
    submit(sqlite_api, "pilot", prodUserID="/DC=test/CN=bob")
    first, second = sqlite_api.acquire(prod_source_label="unified", n_jobs=2)
    assert (first["prodUserID"], first["currentPriority"]) == ("/DC=test/CN=bob", 2147483647)
    assert second["prodUserID"] == "/DC=test/CN=pilot"


@pytest.mark.parametrize(
    ("attributes", "resource_type"),
    [
        ({}, "SCORE"),
        ({"coreCount": 1}, "SCORE"),
        ({"coreCount": 8}, "MCORE"),
        ({"coreCount": 8, "resource_type": "MCORE_HIMEM"}, "MCORE_HIMEM"),
    ],
)
def test_a_job_is_for_pilots_of_its_resource_type_only(
    sqlite_api: Any, attributes: dict[str, object], resource_type: str
) -> None:
    job_id = submit(sqlite_api, "alice", **attributes)
    for other in {"SCORE", "MCORE", "MCORE_HIMEM"} - {resource_type}:
        assert sqlite_api.acquire(resource_type=other) == []
    (job,) = sqlite_api.acquire(resource_type=resource_type)
    assert (job["PandaID"], job["resource_type"]) == (job_id, resource_type)
