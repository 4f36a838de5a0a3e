"""The shapes of requests and answers that released clients and pilots rely on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest


def eventually(question: Any, expected: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (answer := question()) != expected:
        assert time.monotonic() < deadline, f"{answer} is not {expected} after {seconds} s"
        time.sleep(0.2)


def job_state(site: str, name: str) -> str:
    """A job as the client's JobSpec writes it: its attributes in order, and its files."""
    values: dict[int, object] = {
        1: 1,
        9: "http://localhost/trf/user/runGen-00-00-02",
        12: "user",
        17: 1,
        19: name,
        47: site,
        49: '-p "true"',
        54: "local",
    }
    attributes = [values.get(place, "NULL") for place in range(103)]
    log = ["NULL", "NULL", "NULL", f"{name}.log.tgz", "log", "user.contract.log/", *["NULL"] * 13]
    return json.dumps([[*attributes, [log]]])


@pytest.fixture
def job(user: Any, site: str) -> int:
    """A job that waits for a pilot."""
    answer = user.post("job/submit", jobs=job_state(site, f"contract.{time.time_ns()}"))
    assert answer["success"], answer
    return int(answer["data"][0][0])


@pytest.fixture
def taken(pilot: Any, job: int, site: str, settle: float) -> dict[str, Any]:
    """The same job, handed out; others that waited in the queue are ended."""
    deadline = time.monotonic() + settle
    while True:
        answer = pilot.post("pilot/acquire_jobs", site_name=site, prod_source_label="user")
        for found in answer["data"]["jobs"] if answer["success"] else []:
            if found["PandaID"] == job:
                return dict(found)
            pilot.post("pilot/update_job", job_id=found["PandaID"], job_status="failed")
        assert time.monotonic() < deadline, f"job {job} is not handed out: {answer}"
        time.sleep(0.2)


def test_is_alive_needs_nobody(nobody: Any) -> None:
    answer = nobody.send("GET", "/api/v1/system/is_alive")
    assert (answer.status, answer.json) == (200, {"success": True, "message": "", "data": None})
    refused = nobody.send("POST", "/api/v1/system/is_alive", b"{}", Content_Type="application/json")
    assert refused.status == 200
    assert refused.json["message"] == "expecting GET, received POST"


def test_an_unknown_method_is_forbidden(nobody: Any) -> None:
    answer = nobody.send("GET", "/api/v1/system/no_such_method")
    assert answer.status == 403
    assert answer.text.startswith("ERROR : method no_such_method is forbidden")


def test_bad_json_is_forbidden(user: Any) -> None:
    answer = user.send("POST", "/api/v1/task/submit", b"{", Content_Type="application/json")
    assert "received invalid JSON" in answer.text


def test_without_an_identity_nothing_is_done(nobody: Any) -> None:
    for method in ("task/submit", "job/kill", "pilot/acquire_jobs", "pilot/update_job"):
        answer = nobody.post(method)
        assert (answer["success"], answer["message"]) == (False, "SSL secure connection is required")


def test_headers_do_not_make_an_identity(nobody: Any) -> None:
    names = ("X_SSL_Client_S_DN", "SSL_CLIENT_S_DN", "X_SSL_Client_I_DN", "HTTP_SSL_CLIENT_S_DN")
    forged = {**dict.fromkeys(names, "/DC=ch/CN=admin"), "X_SSL_Client_Verify": "SUCCESS"}
    answer = nobody.send("POST", "/api/v1/job/kill", b'{"job_ids": [1]}', Content_Type="application/json", **forged)
    assert answer.json["success"] is False


def test_a_forged_token_is_refused(nobody: Any) -> None:
    headers = {"Authorization": "Bearer e30.e30.e30", "Origin": "wlcg"}
    answer = nobody.send("GET", "/api/v1/job/get_status?job_ids=1", **headers)
    assert answer.status == 403 or answer.json["success"] is False


def test_arguments_are_checked(pilot: Any, site: str) -> None:
    answer = pilot.post("pilot/acquire_jobs")
    assert answer["message"] == "Argument error: missing a required argument: 'site_name'"
    answer = pilot.post("pilot/acquire_jobs", site_name=site, n_jobs="1")
    assert answer["message"] == "Type error: 'n_jobs' must be of type int, got str."
    form = pilot.send(
        "POST",
        "/api/v1/pilot/acquire_jobs",
        f"site_name={site}&n_jobs=1".encode(),
        Content_Type="application/x-www-form-urlencoded",
    )
    assert form.json["message"] == "Type error: 'n_jobs' must be of type int, got str."


def test_an_empty_queue(pilot: Any) -> None:
    answer = pilot.post("pilot/acquire_jobs", site_name="NO_SUCH_QUEUE", compress=True)
    assert answer["success"] is False
    assert answer["message"] == "No jobs in PanDA"


def test_a_job_is_handed_out_once_with_what_a_pilot_needs(pilot: Any, taken: dict[str, Any], site: str) -> None:
    expected = (
        "transformation jobPars attemptNr inFiles outFiles logFile logGUID realDatasets destinationDblock prodUserID"
    )
    expected += " prodSourceLabel minRamCount coreCount taskID resource_type nSent StatusCode"
    assert not set(expected.split()) - set(taken)
    assert taken["outFiles"].endswith(".log.tgz")
    answer = pilot.post("pilot/acquire_jobs", site_name=site, prod_source_label="user")
    assert not answer["success"] or taken["PandaID"] not in [job["PandaID"] for job in answer["data"]["jobs"]]


def test_a_pilot_that_names_no_label_is_one_of_production(pilot: Any, job: int, site: str, settle: float) -> None:
    def status_now() -> str:
        return str(pilot.get("pilot/get_job_status", job_ids=[job])["data"][0]["status"])

    eventually(status_now, "activated", settle)
    for label in ({}, {"prod_source_label": "managed"}):
        assert pilot.post("pilot/acquire_jobs", site_name=site, **label)["message"] == "No jobs in PanDA"
    answer = pilot.post("pilot/acquire_jobs", site_name=site, prod_source_label="unified")
    assert answer["success"], answer


def test_reports_of_a_pilot(pilot: Any, taken: dict[str, Any], settle: float) -> None:
    job_id = taken["PandaID"]
    for status in ("starting", "running", "running"):
        answer = pilot.post("pilot/update_job", job_id=job_id, job_status=status, node="wn1")
        assert answer["data"] == {"StatusCode": 0, "command": "NULL"}
    bogus = pilot.post("pilot/update_job", job_id=job_id, job_status="bogus")
    assert (bogus["success"], bogus["message"], bogus["data"]) == (
        False,
        "Invalid job status: bogus",
        {"StatusCode": 50},
    )
    report = {taken["logFile"]: {"guid": "0d1f", "fsize": 10, "adler32": "00000001"}}
    done = pilot.post("pilot/update_job", job_id=job_id, job_status="finished", job_output_report=json.dumps(report))
    assert done["data"]["StatusCode"] == 0

    def status_now() -> str:
        return str(pilot.get("pilot/get_job_status", job_ids=[job_id])["data"][0]["status"])

    eventually(status_now, "finished", settle)


def test_reports_need_the_production_role(user: Any, taken: dict[str, Any]) -> None:
    answer = user.post("pilot/update_job", job_id=taken["PandaID"], job_status="running")
    assert (answer["success"], answer["message"]) == (False, "production or pilot role required")


def test_a_killed_job_is_told_to_its_pilot(user: Any, pilot: Any, taken: dict[str, Any]) -> None:
    job_id = taken["PandaID"]
    assert user.post("job/kill", job_ids=[job_id])["data"] == [True]
    answer = pilot.post("pilot/update_job", job_id=job_id, job_status="running")
    assert answer["data"] == {"StatusCode": 0, "command": "tobekilled"}


def test_the_state_of_jobs(user: Any, job: int, settle: float) -> None:
    # Not at once: the public package moves a job from table to table, and knows it in neither for a moment.
    eventually(lambda: user.get("job/get_status", job_ids=[job])["data"][0]["status"], "activated", settle)
    known = user.get("pilot/get_job_status", job_ids=[job, 2_000_000_000])["data"]
    assert known[0]["job_id"] == job
    assert known[1] == {"job_id": 2_000_000_000, "status": "not found", "attempt_number": 0}


def test_a_task_is_taken_and_described(user: Any) -> None:
    parameters = {
        "taskName": f"user.contract.{time.time_ns()}/",
        "vo": "wlcg",
        "prodSourceLabel": "user",
        "jobParameters": [],
    }
    answer = user.post("task/submit", task_parameters=parameters, parent_tid=None)
    assert answer["success"], answer
    task_id = answer["data"]
    assert f"jediTaskID={task_id}" in answer["message"]
    stored = user.get("task/get_task_parameters", task_id=task_id)["data"]
    assert stored["taskName"] == parameters["taskName"]
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 3600))
    assert isinstance(user.get("task/get_tasks_detailed_info_since", since=since, n_tasks=5)["data"], list)


def test_an_unknown_task(user: Any) -> None:
    assert user.get("task/get_status", task_id=2_000_000_000)["success"] is False
    assert user.post("task/kill", task_id=2_000_000_000)["success"] is False
