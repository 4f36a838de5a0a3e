"""Jobs as pilots and users meet them through the API: handed out, reported, tried again, killed, counted."""

import json
import threading
from typing import Any

import pytest
from panda_node.db.tables import among, jobs, workers
from sqlalchemy import select
from sqlalchemy.dialects import oracle


def test_two_pilots_never_get_the_same_job(api: Any) -> None:
    api.submit(nEvents=60)
    api.daemon("split_tasks")
    taken: list[int] = []

    def pilot() -> None:
        while got := api.acquire(n_jobs=3):
            taken.extend(job["PandaID"] for job in got)

    threads = [threading.Thread(target=pilot) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == len(set(taken)) == 60


def test_a_pilot_gets_what_it_may_and_can_run(api: Any) -> None:
    api.submit(nEvents=1, ramCount=4000, coreCount=8, taskName="big")
    api.submit(nEvents=1, currentPriority=1100, taskName="urgent")
    api.submit("pilot", nEvents=1, prodSourceLabel="managed", taskName="production")
    api.daemon("split_tasks")
    assert api.acquire(site_name="ELSEWHERE") == []
    assert api.acquire("bob", prod_source_label="user") == [], "bob has no job of his own"
    refused = api.post("pilot/acquire_jobs", "bob", site_name="TEST_SITE", prod_source_label="managed")
    assert refused["message"] == "no production/pilot role in VOMS FQANs or non pilot owner"
    assert [job["jobName"] for job in api.acquire(prod_source_label="managed")] == ["production.000001"]
    first, second = api.acquire("alice", prod_source_label="user", memory=2000, n_jobs=5), api.acquire(memory=4000)
    assert [job["jobName"] for job in first] == ["urgent.000001"]
    assert [(job["jobName"], job["coreCount"], job["resource_type"]) for job in second] == [("big.000001", 8, "MCORE")]
    answer = api.post("pilot/acquire_jobs", "pilot", site_name="TEST_SITE")
    assert answer == {"success": False, "message": "No jobs in PanDA", "data": None}
    answer = api.post("pilot/acquire_jobs", "pilot")
    assert answer["message"] == "Argument error: missing a required argument: 'site_name'"


def test_a_pilot_for_tests_of_a_computing_element_takes_those_of_production_too(sqlite_api: Any) -> None:
    for label in ("test", "prod_test", "install", "managed"):
        sqlite_api.submit("pilot", nEvents=1, prodSourceLabel=label, taskName=label)
    sqlite_api.daemon("split_tasks")
    (first,) = sqlite_api.acquire(prod_source_label="test", n_jobs=5)
    others = sqlite_api.acquire(prod_source_label="test", computing_element="ce1", n_jobs=5)
    assert [job["prodSourceLabel"] for job in (first, *others)] == ["test", "prod_test", "install"]


def test_a_pilot_names_a_user_by_name_or_dn(sqlite_api: Any) -> None:
    sqlite_api.submit(nEvents=2)
    sqlite_api.daemon("split_tasks")
    assert sqlite_api.acquire(prod_user_id="/DC=test/CN=bob") == []
    assert len(sqlite_api.acquire(prod_user_id="/DC=test/CN=alice/CN=706520")) == 1
    assert len(sqlite_api.acquire(prod_user_id="alice")) == 1


@pytest.mark.parametrize("time", [3600.5, 3600, -1, "3600", "unknown"])
def test_a_pilot_may_say_how_much_time_it_has_left(sqlite_api: Any, time: object) -> None:
    sqlite_api.submit(nEvents=1)
    sqlite_api.daemon("split_tasks")
    assert len(sqlite_api.acquire(remaining_time=time)) == 1


def test_what_a_task_says_of_its_jobs_reaches_their_pilots(sqlite_api: Any) -> None:
    said = {"container_name": "docker://alma9", "noLoopingCheck": True, "maxWalltime": 2, "coreCount": 4}
    sqlite_api.submit(nEvents=1, taskName="special", **said, ramCount=2000, ramCountUnit="MBPerCore", baseRamCount=500)
    sqlite_api.submit(nEvents=1, taskName="fixed", coreCount=4, ramCount=2000, ramUnit="MBPerCoreFixed")
    sqlite_api.submit(nEvents=1, taskName="plain", coreCount=4, ramCount=2000, ramUnit="MB", ramCountUnit="MBPerCore")
    sqlite_api.daemon("split_tasks")
    special, fixed, plain = sqlite_api.acquire(n_jobs=3)
    assert (special["container_name"], special["loopingCheck"], special["maxWalltime"]) == (
        "docker://alma9",
        False,
        7200,
    )
    assert [job["minRamCount"] for job in (special, fixed, plain)] == [8500, 8000, 2000]
    assert plain["maxWalltime"] == 0
    assert not {"container_name", "loopingCheck"} & plain.keys()


def test_reports_that_come_twice_late_or_never_should(api: Any) -> None:
    api.submit(nEvents=2)
    api.daemon("split_tasks")
    waiting = api.rows(jobs)[1].job_id
    job = api.acquire()[0]
    job_id = job["PandaID"]
    assert api.report(job_id, "bogus") == {
        "success": False,
        "message": "Invalid job status: bogus",
        "data": {"StatusCode": 50},
    }
    assert api.report(waiting, "running")["message"].startswith("Invalid state change: no pilot has job")
    assert api.report(999_999, "running")["data"] == {"StatusCode": 0, "command": "tobekilled"}
    assert api.report(job_id, "running", attempt_nr=2)["data"]["command"] == "badattemptnr"
    assert api.report(job_id, "running", attempt_nr=1)["data"]["command"] == "NULL"
    assert api.report(job_id, "starting")["data"]["command"] == "NULL"
    assert api.count(jobs) == {"running": 1, "activated": 1}, "a late report moves nothing back"
    api.finish(job)
    for status in ("finished", "failed", "running"):
        assert api.report(job_id, status)["data"]["command"] == "alreadydone"
    api.daemon("add_main")
    assert api.report(job_id, "failed")["data"]["command"] == "alreadydone"
    assert api.count(jobs) == {"finished": 1, "activated": 1}
    assert api.post("pilot/update_job", "alice", job_id=job_id, job_status="running")["message"] == (
        "production or pilot role required"
    )


def test_a_finished_job_without_its_files_has_failed(api: Any) -> None:
    api.submit(nEvents=1, maxAttempt=1)
    api.daemon("split_tasks")
    job = api.acquire()[0]
    api.report(job["PandaID"], "finished", job_output_report='{"x": 1}')
    assert api.daemon("add_main", "close_tasks") == ["0 jobs finished, 1 failed", "1 tasks: 1 failed"]
    described = api.get("job/get_description", f"job_ids={job['PandaID']}&job_ids=999")["data"]
    assert described[1] is None
    assert (described[0]["jobStatus"], described[0]["ddmErrorCode"]) == ("failed", 200)
    assert described[0]["ddmErrorDiag"] == "Could not get GUID/LFN/MD5/FSIZE/SURL from pilot JSON"


def test_failed_jobs_are_tried_again_within_limits(api: Any) -> None:
    task_id = api.submit(nEvents=1, maxAttempt=2)
    api.daemon("split_tasks")
    for attempt in (1, 2):
        (job,) = api.acquire()
        assert job["attemptNr"] == attempt
        assert job["outFiles"].count(",") == 1
        api.report(job["PandaID"], "failed", pilot_error_code=1305, pilot_error_diag="payload broke", trans_exit_code=7)
        api.daemon("add_main")
    assert api.acquire() == []
    api.daemon("close_tasks")
    info = api.get("task/get_detailed_info", f"task_id={task_id}")["data"]
    assert (info["status"], info["nFiles"], info["nFilesFailed"]) == ("failed", 1, 1)
    assert info["errorDialog"] == "payload broke"
    described = api.post("job/get_description", job_ids=[job["PandaID"]])["data"][0]
    assert (described["pilotErrorCode"], described["transExitCode"]) == (1305, 7)
    # The user gives it one more.
    assert api.post("task/retry", task_id=task_id)["data"] == 0
    (job,) = api.acquire()
    assert job["attemptNr"] == 3
    api.finish(job)
    assert api.daemon("add_main", "close_tasks")[1] == "1 tasks: 1 finished"
    assert api.post("task/retry", task_id=task_id)["success"] is True
    assert api.daemon("close_tasks") == ["1 tasks: 1 finished"]


def test_the_errors_of_pilot_payload_and_server_are_told_apart(sqlite_api: Any) -> None:
    sqlite_api.submit(nEvents=2)
    sqlite_api.daemon("split_tasks")
    errors = {"pilot_error_code": 1305, "pilot_error_diag": "payload broke", "exe_error_code": 65}
    failed, lost = sqlite_api.acquire(n_jobs=2)
    sqlite_api.report(failed["PandaID"], "failed", **errors, exe_error_diag="x" * 1000)
    sqlite_api.report(lost["PandaID"], "running", **errors)
    sqlite_api.daemon("add_main")
    sqlite_api.age(2000, jobs)
    assert sqlite_api.daemon("expire_heartbeats") == ["1 jobs expired"]
    described = sqlite_api.post("job/get_description", job_ids=[failed["PandaID"], lost["PandaID"]])["data"]
    for job, server in zip(described, (0, 1), strict=True):
        assert (job["pilotErrorCode"], job["pilotErrorDiag"]) == (1305, "payload broke")
        assert (job["exeErrorCode"], job["taskBufferErrorCode"]) == (65, server)
    assert described[0]["exeErrorDiag"] == "x" * 500
    assert described[1]["taskBufferErrorDiag"].startswith("lost heartbeat")


def test_a_pilot_that_falls_silent_loses_its_job(api: Any) -> None:
    api.submit(nEvents=2)
    api.daemon("split_tasks")
    reported, silent = api.acquire(n_jobs=2)
    api.report(reported["PandaID"], "running")
    api.age(150, jobs)
    assert api.daemon("expire_heartbeats") == ["1 jobs expired"], "a tenth of the time before the first report"
    api.age(2000, jobs)
    assert api.daemon("expire_heartbeats") == ["1 jobs expired"]
    late = api.report(reported["PandaID"], "finished")
    assert late["data"]["command"] == "alreadydone"
    again = api.acquire(n_jobs=5)
    assert sorted(job["attemptNr"] for job in again) == [2, 2]
    assert not {job["PandaID"] for job in again} & {reported["PandaID"], silent["PandaID"]}


def test_killing_jobs(api: Any) -> None:
    api.submit()
    api.daemon("split_tasks")
    (job,) = api.acquire()
    numbers = [row.job_id for row in api.rows(jobs)]
    assert api.post("job/kill", "bob", job_ids=numbers)["data"] == [False] * 3
    assert api.post("job/kill", job_ids=[*numbers, 999])["data"] == [True, True, True, False]
    assert api.count(jobs) == {"cancelled": 2, "sent": 1}
    for who in ("alice", "pilot"):
        assert api.post("job/kill", who, job_ids=numbers)["data"] == [False] * 3, "there is nothing left to kill"
    status = api.get("pilot/get_job_status", f"job_ids={job['PandaID']}&job_ids=999")["data"]
    assert status == [
        {"job_id": job["PandaID"], "status": "sent", "attempt_number": 1},
        {"job_id": 999, "status": "not found", "attempt_number": 0},
    ]
    api.report(job["PandaID"], "failed")
    api.daemon("add_main")
    assert api.count(jobs) == {"cancelled": 3}
    assert api.report(job["PandaID"], "failed")["data"]["command"] == "tobekilled"


@pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan"), 1e999, 10**30])
def test_jobs_that_no_database_could_store_are_refused(postgres_api: Any, value: object) -> None:
    state = ["NULL"] * 103
    state[47], state[49] = "TEST_SITE", value
    answer = postgres_api.post("job/submit", jobs=json.dumps([[*state, []]]))
    assert (answer["success"], answer["message"][:27]) == (False, "Failed to deserialize jobs:")
    assert postgres_api.rows(jobs) == []


def test_many_jobs_are_asked_for_in_lists_that_every_database_takes(sqlite_api: Any) -> None:
    sqlite_api.submit()
    sqlite_api.daemon("split_tasks")
    asked = list(range(1, 2502))
    known = sqlite_api.post("job/kill", job_ids=asked)["data"]
    assert known == [True] * 3 + [False] * 2498
    described = sqlite_api.post("job/get_description", job_ids=asked)["data"]
    assert [job["jobStatus"] for job in described[:3]] == ["cancelled"] * 3
    statement = str(select(jobs.c.job_id).where(among(jobs.c.job_id, asked)).compile(dialect=oracle.dialect()))
    assert statement.count(" IN ") == 3, "Oracle takes 1000 values in a list"


@pytest.mark.parametrize("guid", ["a\0b", "\ud800"])
def test_a_report_that_no_database_could_store_fails_its_job_and_does_not_block_it(
    postgres_api: Any, guid: str
) -> None:
    postgres_api.submit(nEvents=1, maxAttempt=1)
    postgres_api.daemon("split_tasks")
    (job,) = postgres_api.acquire()
    names = job["outFiles"].split(",")
    report = json.dumps({name: {"guid": guid, "fsize": 1, "adler32": "1"} for name in names})
    postgres_api.report(job["PandaID"], "finished", job_output_report=report)
    assert postgres_api.daemon("add_main") == ["0 jobs finished, 1 failed"]


def test_reports_in_bulk(sqlite_api: Any) -> None:
    sqlite_api.submit()
    sqlite_api.daemon("split_tasks")
    taken = sqlite_api.acquire(n_jobs=3)
    reports: list[dict[str, object]] = [{"job_id": job["PandaID"], "job_status": "running"} for job in taken]
    reports += [{"job_id": 1}, {"job_id": 1, "job_status": "bogus"}, {"job_id": "1", "job_status": "running"}]
    answer = sqlite_api.post("pilot/update_jobs_bulk", "pilot", job_list=reports, harvester_id="h")
    assert [envelope["success"] for envelope in answer["data"]] == [True, True, True, False, False, False]
    assert sqlite_api.count(jobs) == {"running": 3}


def test_workers_are_known(api: Any) -> None:
    api.submit()
    api.daemon("split_tasks")
    api.acquire(harvester_id="h", worker_id=5, node="wn1", n_jobs=2)
    answer = api.post("pilot/update_worker_status", "pilot", worker_id="5", harvester_id="h", status="finished")
    assert answer["success"]
    (worker,) = api.rows(workers)
    assert (worker.worker_id, worker.status, worker.jobs, worker.node) == (5, "finished", 2, "wn1")
    for bad in ({"status": "x"}, {"worker_id": "x"}, {"harvester_id": ""}):
        arguments = {"worker_id": 5, "harvester_id": "h", "status": "started", **bad}
        assert api.post("pilot/update_worker_status", "pilot", **arguments)["success"] is False


def test_statistics(api: Any) -> None:
    api.submit()
    api.daemon("split_tasks")
    api.acquire()
    counts = {"assigned": 0, "activated": 2, "sent": 1, "running": 0}
    assert api.get("statistics/active_job_stats_by_site")["data"] == {"TEST_SITE": counts}
    by_type = api.get("statistics/job_stats_by_site_and_resource_type", "time_window=60")["data"]
    assert by_type == {"TEST_SITE": {"SCORE": {**counts, "finished": 0, "failed": 0}}}
    assert api.get("statistics/job_stats_by_site_and_resource_type", "time_window=99999")["success"] is False


def test_old_pilots_are_understood(api: Any) -> None:
    api.submit(nEvents=2)
    api.daemon("split_tasks")
    pilot = {
        "X-SSL-Client-Verify": "SUCCESS",
        "X-SSL-Client-S-DN": "/DC=test/CN=pilot",
        "Content-Type": "application/x-www-form-urlencoded",
    }

    def ask(method: str, body: str, **headers: str) -> Any:
        return api.client.simulate_post(f"/server/panda/{method}", body=body, headers={**pilot, **headers})

    form = "siteName=TEST_SITE&prodSourceLabel=user&mem=0&diskSpace=None&node=wn1&computingElement=ce&cpu=0"
    job = ask("getJob", form, Accept="application/json").json
    assert (job["StatusCode"], job["attemptNr"]) == (0, 1)
    answer = ask("updateJob", f"jobId={job['PandaID']}&state=running&timestamp=2026&siteName=TEST_SITE&attemptNr=1")
    assert answer.text == "StatusCode=0&command=NULL"
    assert (
        ask("getStatus", f"ids={job['PandaID']},999").text == "StatusCode=0&status=running%2Cnotfound&attemptNr=1%2C0"
    )
    assert "PandaID=" in ask("getJob", form).text
    assert ask("getJob", form, Accept="application/json").json["StatusCode"] == 20
    assert ask("updateJob", "jobId=x&state=running", Accept="application/json").json["StatusCode"] == 30
    assert ask("updateJob", "state=running").text.startswith("StatusCode=30&errorDialog=Argument+error")
    nobody = api.client.simulate_post(
        "/server/panda/getJob", body=form, headers={"Content-Type": pilot["Content-Type"]}
    )
    assert nobody.text == "StatusCode=60&errorDialog=SSL+secure+connection+is+required"
