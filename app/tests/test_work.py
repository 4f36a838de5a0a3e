"""Tasks and jobs through the API and the daemon: the usual way, and what clients and pilots do wrong."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from panda_node.config_check import faults
from panda_node.daemon.job import JobContext
from panda_node.daemon.jobs import clean_cache, delete_finished
from panda_node.db import drivers
from panda_node.db.tables import among, cache_files, files, jobs, tasks, workers
from panda_node.errors import ConfigurationError, RefusalError
from panda_node.web.groups import file_server
from panda_node.web.groups import task as task_group
from panda_node.work import jobs as work
from panda_node.work import plugins, splitting
from panda_node.work.job_specification import JOB_ATTRIBUTES
from panda_node.work.splitting import MAX_JOBS, split
from sqlalchemy import select, update
from sqlalchemy.dialects import oracle


def rows(api: Any, table: Any) -> list[Any]:
    with api.database.reading("test") as connection:
        return list(connection.execute(select(table).order_by(table.primary_key.columns[0])).all())


def age(api: Any, seconds: int, *tables: Any) -> None:
    """Makes every job, or every row of the tables, look as if it had last been heard of so long ago."""
    with api.database.writing("test") as connection:
        for table in tables or (jobs,):
            connection.execute(update(table).values(modified=work.now() - seconds))


def test_a_task_from_submission_to_its_end(api: Any) -> None:
    task_id = api.submit()
    assert api.get("task/get_status", f"task_id={task_id}")["data"] == "registered"
    assert api.acquire() == []
    api.daemon("split_tasks")
    assert api.get("task/get_status", f"task_id={task_id}")["data"] == "running"
    taken = api.acquire(n_jobs=2) + api.acquire(n_jobs=2)
    assert len({job["PandaID"] for job in taken}) == 3
    assert api.acquire() == []
    first = taken[0]
    assert (first["taskID"], first["attemptNr"], first["prodUserID"]) == (task_id, 1, "alice")
    assert first["jobPars"] == '-j "" --sourceURL https://localhost:25443 -p "echo%20000001"'
    assert first["outFiles"] == f"user.alice.{task_id}._000001.out.dat,user.alice.test.log.{task_id}.000001.log.tgz"
    assert first["logFile"] == f"user.alice.test.log.{task_id}.000001.log.tgz"
    for status in ("starting", "running"):
        assert api.report(first["PandaID"], status)["data"] == {"StatusCode": 0, "command": "NULL"}
    for job in taken:
        api.finish(job)
    assert api.count(jobs) == {"holding": 3}
    assert api.daemon("close_tasks", "add_main", "close_tasks") == [
        "0 tasks: none",
        "3 jobs finished, 0 failed",
        "1 tasks: 1 finished",
    ]
    assert api.get("task/get_status", f"task_id={task_id}")["data"] == "finished"
    assert {(file.status, file.guid, file.size) for file in rows(api, files)} == {("ready", "1234", 5)}
    shown = api.get("task/get_tasks_detailed_info_since", "since=2020-01-01+00:00:00")["data"]
    assert [(task["jediTaskID"], task["pctFinished"], task["superStatus"]) for task in shown] == [
        (task_id, 100, "finished")
    ]
    details = api.get("task/get_details", f"task_id={task_id}&include_status=true&include_parameters=true")["data"]
    assert (details["statistics"], details["status"], details["outDS"]) == (
        "finished(3)",
        "finished",
        "user.alice.test_out.dat/",
    )
    assert len(details["PandaID"]) == 3
    assert api.get("task/get_task_parameters", f"task_id={task_id}")["data"]["taskName"] == "user.alice.test/"
    assert api.get("task/get_detailed_info", f"task_id={task_id}")["data"]["nFilesFinished"] == 3


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
    api.submit(nEvents=1, taskPriority=5000, taskName="urgent")
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


def test_reports_that_come_twice_late_or_never_should(api: Any) -> None:
    api.submit(nEvents=2)
    api.daemon("split_tasks")
    waiting = rows(api, jobs)[1].job_id
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


def test_a_pilot_that_falls_silent_loses_its_job(api: Any) -> None:
    api.submit(nEvents=2)
    api.daemon("split_tasks")
    reported, silent = api.acquire(n_jobs=2)
    api.report(reported["PandaID"], "running")
    age(api, 150)
    assert api.daemon("expire_heartbeats") == ["1 jobs expired"], "a tenth of the time before the first report"
    age(api, 2000)
    assert api.daemon("expire_heartbeats") == ["1 jobs expired"]
    late = api.report(reported["PandaID"], "finished")
    assert late["data"]["command"] == "alreadydone"
    again = api.acquire(n_jobs=5)
    assert sorted(job["attemptNr"] for job in again) == [2, 2]
    assert not {job["PandaID"] for job in again} & {reported["PandaID"], silent["PandaID"]}


def test_a_retry_may_change_what_the_next_attempts_need(api: Any) -> None:
    task_id = api.submit(nEvents=2, maxAttempt=1)
    api.daemon("split_tasks")
    good, bad = api.acquire(n_jobs=2)
    api.finish(good)
    api.report(bad["PandaID"], "failed")
    api.daemon("add_main", "close_tasks")
    for changes, problem in (
        ({"nEvents": 9}, "retry cannot change nEvents, only site, "),
        ({"prodSourceLabel": "managed"}, "retry cannot change prodSourceLabel"),
        ({"ramCount": "many"}, "ramCount must be a whole number"),
        ({"site": ""}, "site must be a text"),
        ("{", "new_parameters: not JSON"),
        ("[1]", "new_parameters: must be a JSON object"),
    ):
        answer = api.post("task/retry", task_id=task_id, new_parameters=changes)
        assert (answer["success"], problem in answer["message"]) == (False, True), answer
    assert api.get("task/get_status", f"task_id={task_id}")["data"] == "finished", "a refusal changes nothing"
    changes = {"site": "BIG_SITE", "ramCount": 8000, "coreCount": 4, "maxAttempt": 2, "taskPriority": 7}
    assert api.post("task/retry", task_id=task_id, new_parameters=json.dumps(changes))["success"]
    assert api.acquire() == []
    (job,) = api.acquire(site_name="BIG_SITE")
    shown = (job["minRamCount"], job["coreCount"], job["resource_type"], job["attemptNr"], job["currentPriority"])
    assert shown == (8000, 4, "MCORE", 2, 7)
    assert rows(api, jobs)[-1].max_attempts == 3, "two more"
    assert api.get("task/get_task_parameters", f"task_id={task_id}")["data"]["ramCount"] == 8000


def test_a_broken_task_is_mended_by_a_retry_with_what_it_lacked(sqlite_api: Any) -> None:
    task_id = sqlite_api.submit(site=None)
    sqlite_api.daemon("split_tasks")
    assert sqlite_api.get("task/get_status", f"task_id={task_id}")["data"] == "broken"
    assert sqlite_api.post("task/retry", task_id=task_id, new_parameters={"site": "TEST_SITE", "nEvents": 1})["success"]
    assert sqlite_api.daemon("split_tasks") == ["1 tasks, 1 jobs made, 0 tasks broken"]
    assert len(sqlite_api.acquire()) == 1


def test_killing_a_task(api: Any) -> None:
    task_id = api.submit()
    api.daemon("split_tasks")
    (job,) = api.acquire()
    assert api.post("task/kill", "bob", task_id=task_id) == {
        "success": False,
        "message": "not the task owner or no production role",
        "data": 1,
    }
    answer = api.post("task/kill", task_id=task_id)
    message = f"command=kill is registered for task ID {task_id}. will be executed in a few minutes"
    assert answer == {"success": True, "message": message, "data": 0}
    assert api.count(jobs) == {"cancelled": 2, "sent": 1}
    assert api.get("job/get_status", f"job_ids={job['PandaID']}")["data"] == [
        {"command": "tobekilled", "status": "sent"}
    ]
    assert api.report(job["PandaID"], "running")["data"]["command"] == "tobekilled"
    api.report(job["PandaID"], "failed")
    assert api.daemon("add_main", "close_tasks")[1] == "1 tasks: 1 aborted"
    assert api.acquire() == [], "what was killed is not tried again"
    assert api.post("task/kill", task_id=task_id)["message"] == "the task is already aborted"
    assert api.post("task/kill", task_id=12345)["success"] is False


def test_finishing_a_task_early(api: Any) -> None:
    task_id = api.submit()
    api.daemon("split_tasks")
    (job,) = api.acquire()
    assert api.post("task/finish", task_id=task_id, soft=True)["success"]
    assert api.report(job["PandaID"], "running")["data"]["command"] == "NULL"
    api.finish(job)
    assert api.daemon("add_main", "close_tasks")[1] == "1 tasks: 1 finished"
    assert api.count(jobs) == {"cancelled": 2, "finished": 1}


def test_killing_jobs(api: Any) -> None:
    api.submit()
    api.daemon("split_tasks")
    (job,) = api.acquire()
    numbers = [row.job_id for row in rows(api, jobs)]
    assert api.post("job/kill", "bob", job_ids=numbers)["data"] == [False] * 3
    assert api.post("job/kill", job_ids=[*numbers, 999])["data"] == [True, True, True, False]
    assert api.count(jobs) == {"cancelled": 2, "sent": 1}
    status = api.get("pilot/get_job_status", f"job_ids={job['PandaID']}&job_ids=999")["data"]
    assert status == [
        {"job_id": job["PandaID"], "status": "sent", "attempt_number": 1},
        {"job_id": 999, "status": "not found", "attempt_number": 0},
    ]


def test_a_task_name_may_be_in_use_once(api: Any) -> None:
    first = api.submit()
    again = api.post("task/submit", task_parameters={"taskName": "user.alice.test/", "uniqueTaskName": True})
    assert (again["success"], again["data"]) == (False, 2)
    assert f"jediTaskID={first} of that name is registered" in again["message"]
    api.submit("bob")
    api.submit(uniqueTaskName=False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"site": None}, "no site is given"),
        ({"buildSpec": {"a": 1}}, "submit with --noBuild"),
        ({"mergeOutput": True}, "merging"),
        ({"jobParameters": "x"}, "jobParameters must be a list"),
        ({"jobParameters": [1]}, "jobParameters must be a list"),
        ({"nEvents": MAX_JOBS + 1}, "jobs are asked for"),
        ({"jobParameters": [{"param_type": "input", "dataset": "data:set"}]}, "there is no data catalogue"),
    ],
)
def test_a_task_that_makes_no_jobs_is_broken_and_says_why(
    sqlite_api: Any, changes: dict[str, object], reason: str
) -> None:
    task_id, good = sqlite_api.submit(**changes), sqlite_api.submit(taskName="good")
    assert sqlite_api.daemon("split_tasks") == ["2 tasks, 3 jobs made, 1 tasks broken"]
    info = sqlite_api.get("task/get_detailed_info", f"task_id={task_id}")["data"]
    assert info["status"] == "broken"
    assert reason in info["errorDialog"]
    assert sqlite_api.get("task/get_status", f"task_id={good}")["data"] == "running"


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({}, "taskName is missing"),
        ({"taskName": ["x"]}, "taskName must be a text"),
        ({"taskName": "a\nb"}, "control characters"),
        ({"taskName": "x" * 600}, "taskName must be a text"),
        ({"taskName": "x", "prodSourceLabel": "managed"}, "need the production role"),
        ({"taskName": "x", "vo": {"a": 1}}, "vo must be a text"),
    ],
)
def test_a_bad_task_is_refused(sqlite_api: Any, parameters: dict[str, object], problem: str) -> None:
    answer = sqlite_api.post("task/submit", task_parameters=parameters)
    assert (answer["success"], answer["data"]) == (False, 4)
    assert problem in answer["message"]
    assert rows(sqlite_api, tasks) == []


def test_a_small_task_cannot_grow_into_more_than_the_daemon_can_hold() -> None:
    long = {"value": "x" * (splitting.MAX_COMMAND + 1)}
    many = [{"value": "${IN} " * 1000, "param_type": "input", "dataset": "d", "files": ["f" * 500]}]
    name = {"param_type": "output", "hidden": True, "value": "${IN}" * 1000}
    for parameters, problem in (
        ({"jobParameters": [long]}, "the parameters of a job are longer"),
        ({"jobParameters": many}, "the parameters of a job are longer"),
        ({"jobParameters": [{"value": "x" * 60_000}] * 2}, "the parameters of a job are longer"),
        ({"jobParameters": [name], "pfnList": ["f" * 500]}, "the parameters of a job are longer"),
        ({"jobParameters": [{"value": "x" * 90_000}], "nEvents": 1000}, "together are longer"),
        ({"jobParameters": [{"hidden": True}] * 1000, "nEvents": 1000}, "1000 jobs of 1000 parameters"),
    ):
        with pytest.raises(RefusalError, match=problem):
            split(1, "S", "trf", parameters)


def test_input_files_are_shared_out() -> None:
    items = [
        {"param_type": "input", "value": "-i ${IN/T}", "dataset": "d", "files": ["a", "b", "c"]},
        {"param_type": "output", "value": "o.${SN}", "dataset": "e", "hidden": True},
    ]
    plan = split(7, "S", "trf", {"jobParameters": items, "nFilesPerJob": 2})
    assert [job.parameters for job in plan.jobs] == ["-i a,b", "-i c"]
    assert [[file.lfn for file in job.files] for job in plan.jobs] == [["a", "b", "o.000001"], ["c", "o.000002"]]
    assert [job.parameters for job in split(7, "S", "t", {"pfnList": ["p"], "jobParameters": items}).jobs] == ["-i p"]
    with pytest.raises(RefusalError, match="no site"):
        split(7, None, "trf", {"jobParameters": []})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("filters=%7B", "filters: not JSON"),
        ("filters=[]", "filters: must be a JSON object"),
        ('filters={"1%3D1":"x"}', "filters: 1=1 is not one of"),
        ('filters={"jediTaskID":"1 or 1"}', "filters: jediTaskID must be a number"),
        ('filters={"taskName":"a%5Cu0000"}', "cannot be printed"),
        ("since=yesterday", "since: must be a time"),
    ],
)
def test_bad_filters_are_named(sqlite_api: Any, query: str, message: str) -> None:
    answer = sqlite_api.get("task/get_tasks_detailed_info_since", query)
    assert answer["success"] is False
    assert message in answer["message"]


def test_filters_find_ones_own_tasks(sqlite_api: Any) -> None:
    mine, other = sqlite_api.submit(), sqlite_api.submit("bob", site="X'; DROP TABLE tasks; --")
    listing = "task/get_tasks_detailed_info_since"

    def found(filters: dict[str, object], who: str = "alice") -> list[int]:
        query = f"filters={json.dumps(filters).replace(' ', '%20').replace(';', '%3B')}"
        return [task["jediTaskID"] for task in sqlite_api.get(listing, query, who)["data"]]

    assert found({}) == found({"reqID": str(mine)}) == found({"taskName": "user.alice.test/"}) == [mine]
    assert found({"jediTaskID": other}) == []
    assert found({"jediTaskID": other}, "pilot") == [other]
    assert found({"userName": "bob", "superStatus": "registered"}) == [other]
    assert found({"site": "X'; DROP TABLE tasks; --"}, "bob") == [other]
    assert sqlite_api.get(listing, "n_tasks=0")["data"] == []
    assert set(task_group._FILTERS) >= {"jediTaskID", "reqID", "status", "superStatus", "userName", "taskName"}


@pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan"), 1e999, 10**30])
def test_jobs_that_no_database_could_store_are_refused(postgres_api: Any, value: object) -> None:
    state = ["NULL"] * 103
    state[47], state[49] = "TEST_SITE", value  # type: ignore[call-overload]
    answer = postgres_api.post("job/submit", jobs=json.dumps([[*state, []]]))
    assert (answer["success"], answer["message"][:27]) == (False, "Failed to deserialize jobs:")
    assert rows(postgres_api, jobs) == []


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
    (worker,) = rows(api, workers)
    assert (worker.worker_id, worker.status, worker.jobs, worker.node) == (5, "finished", 2, "wn1")
    for bad in ({"status": "x"}, {"worker_id": "x"}, {"harvester_id": ""}):
        arguments = {"worker_id": 5, "harvester_id": "h", "status": "started", **bad}
        assert api.post("pilot/update_worker_status", "pilot", **arguments)["success"] is False


def test_what_ended_long_ago_is_deleted_as_a_whole(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delete_finished, "BATCH", 2)
    ended, running = api.submit(taskName="ended"), api.submit(taskName="running", nEvents=1, taskPriority=1)
    state = ["TEST_SITE" if name == "computingSite" else "NULL" for name in JOB_ATTRIBUTES]
    killed = api.post("job/submit", jobs=json.dumps([[*state, []]]))["data"][0][0]
    assert api.post("job/kill", job_ids=[killed])["data"] == [True]
    api.daemon("split_tasks")
    for job in api.acquire(n_jobs=3, task_id=ended):
        api.finish(job)
    api.acquire(task_id=running, harvester_id="h", worker_id=1)
    api.daemon("add_main", "close_tasks")
    assert api.daemon("delete_finished") == ["0 tasks, 0 jobs, 0 workers deleted"]
    age(api, 91 * 86400, jobs, tasks, workers)
    recent = api.submit(taskName="recent", nEvents=1)
    api.post("task/kill", task_id=recent)
    assert api.daemon("close_tasks") == ["1 tasks: 1 aborted"]
    assert api.daemon("delete_finished") == ["1 tasks, 4 jobs, 1 workers deleted"]
    assert [task.task_id for task in rows(api, tasks)] == [running, recent]
    assert [job.task_id for job in rows(api, jobs)] == [running]
    assert {file.job_id for file in rows(api, files)} == {rows(api, jobs)[0].job_id}
    assert rows(api, workers) == []
    assert api.get("task/get_status", f"task_id={ended}")["message"] == "Task not found"
    assert api.get("job/get_status", f"job_ids={killed}")["data"] == [{"command": "tobekilled", "status": "not found"}]


def test_a_task_that_is_being_deleted_is_left_alone(sqlite_api: Any) -> None:
    task_id = sqlite_api.submit()
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(tasks).values(status="obsolete"))
    for command in ("retry", "kill", "finish"):
        answer = sqlite_api.post(f"task/{command}", task_id=task_id)
        assert (answer["success"], "obsolete" in answer["message"]) == (False, True)


def test_statistics(api: Any) -> None:
    api.submit()
    api.daemon("split_tasks")
    api.acquire()
    assert api.get("statistics/active_job_stats_by_site")["data"] == {"TEST_SITE": {"activated": 2, "sent": 1}}
    by_type = api.get("statistics/job_stats_by_site_and_resource_type", "time_window=60")["data"]
    assert by_type == {"TEST_SITE": {"SCORE": {"activated": 2, "sent": 1}}}
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


def multipart(name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--b--\r\n"
    headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=alice"}
    return body, {**headers, "Content-Type": "multipart/form-data; boundary=b"}


def upload(api: Any, name: str, content: bytes = b"12345678") -> Any:
    body, headers = multipart(name, content)
    return api.client.simulate_post("/api/v1/file_server/upload_cache_file", body=body, headers=headers).json


def test_a_sandbox_is_kept_and_found_again(sqlite_api: Any) -> None:
    cache = sqlite_api.node.directory / "pandacache"
    content = b"x" * 100_000 + b"\x01\x00\x00\x00\x02\x00\x00\x00"
    assert upload(sqlite_api, "jobO.1.tar.gz", content) == {"success": True, "message": "", "data": None}
    assert (cache / "jobO.1.tar.gz").read_bytes() == content
    found = sqlite_api.post("file_server/validate_cache_file", file_size=len(content), checksum=1)
    assert (found["success"], found["message"]) == (True, "FOUND:localhost:jobO.1.tar.gz")
    assert sqlite_api.post("file_server/validate_cache_file", "bob", file_size=len(content), checksum=1) == {
        "success": False,
        "message": "NOTFOUND",
        "data": None,
    }
    assert upload(sqlite_api, "jobO.1.tar.gz", b"other")["message"] == "ERROR: cannot overwrite file"
    assert (cache / "jobO.1.tar.gz").read_bytes() == content
    assert upload(sqlite_api, "/some/where/jobO.2.tar.gz")["success"], "of a path, the last part counts"
    assert {file.name for file in cache.iterdir()} == {"jobO.1.tar.gz", "jobO.2.tar.gz"}
    assert clean_cache.run(JobContext(sqlite_api.settings, sqlite_api.database, ())) == "0 files removed"
    assert clean_cache.run(JobContext(sqlite_api.settings, sqlite_api.database, ("-1",))) == "2 files removed"
    found = sqlite_api.post("file_server/validate_cache_file", file_size=len(content), checksum=1)
    assert found["message"] == "NOTFOUND"


@pytest.mark.parametrize("name", ["..", "../", ".hidden", "a b", "schedconfig", "x" * 201, "a%00b", "..%2fx", "a\\b"])
def test_a_bad_file_name_is_refused_and_nothing_is_kept(sqlite_api: Any, name: str) -> None:
    assert upload(sqlite_api, name)["success"] is False
    cache = sqlite_api.node.directory / "pandacache"
    assert not cache.exists() or list(cache.iterdir()) == []
    assert upload(sqlite_api, "")["success"] is False


def test_an_upload_has_a_limit(sqlite_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panda_node.web.groups.file_server.SMALL_UPLOAD", 10)
    assert upload(sqlite_api, "jobO.big", b"x" * 11)["message"].startswith("ERROR: upload failure. Exceeded size limit")
    assert list((sqlite_api.node.directory / "pandacache").iterdir()) == []
    assert upload(sqlite_api, "sources.big", b"x" * 11)["success"]


def test_an_identity_has_a_quota_of_uploads_on_each_node(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api.node.server["cache_quota"] = 1
    api.node.write()
    here = type(api)(api.node)
    cache = api.node.directory / "pandacache"
    assert upload(here, "jobO.1", b"x" * 700_000)["success"]
    refused = upload(here, "jobO.2", b"x" * 700_000)
    assert (refused["success"], refused["data"]) == (False, None)
    assert refused["message"].startswith("ERROR: upload failure. Your files on this server take 1 of 1 MB.")
    assert [file.name for file in cache.iterdir()] == ["jobO.1"] == [row.name for row in rows(here, cache_files)]
    assert all(upload(here, f"sources.{number}", b"")["success"] for number in range(84))
    assert not upload(here, "sources.84", b"")["success"], "empty files take their place too"
    monkeypatch.setattr("panda_node.web.groups.file_server._write", None)  # nothing of a body is read any more
    with here.database.writing("test") as connection:
        connection.execute(update(cache_files).where(cache_files.c.name == "jobO.1").values(size=2_000_000))
    assert not upload(here, "jobO.3", b"x")["success"]
    with here.database.writing("test") as connection:
        connection.execute(update(cache_files).values(host="another.node"))
    monkeypatch.undo()
    assert upload(here, "jobO.3", b"x")["success"]


def test_two_uploads_at_once_do_not_pass_the_quota(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api.node.server["cache_quota"] = 1
    api.node.write()
    here = type(api)(api.node)
    both, write = threading.Barrier(2), file_server._write

    def write_together(*arguments: Any) -> tuple[int, int]:
        written = write(*arguments)
        both.wait(10)
        return written

    monkeypatch.setattr(file_server, "_write", write_together)
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda name=name: answers.append(upload(here, name, b"x" * 700_000)["success"]))
        for name in ("jobO.1", "jobO.2")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), sum(answers) < 2) == (2, True)
    assert len(rows(here, cache_files)) == len(list((api.node.directory / "pandacache").iterdir())) == sum(answers)


def test_a_name_that_another_node_has_is_taken(sqlite_api: Any) -> None:
    assert upload(sqlite_api, "jobO.1")["success"]
    (sqlite_api.node.directory / "pandacache/jobO.1").unlink()
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(cache_files).values(host="another.node"))
    assert upload(sqlite_api, "jobO.1")["message"] == "ERROR: cannot overwrite file"
    assert list((sqlite_api.node.directory / "pandacache").iterdir()) == []
    assert [row.host for row in rows(sqlite_api, cache_files)] == ["another.node"]


def test_a_file_that_somebody_took_away_counts_no_more(sqlite_api: Any) -> None:
    assert upload(sqlite_api, "jobO.1")["success"]
    (sqlite_api.node.directory / "pandacache/jobO.1").unlink()
    assert clean_cache.run(JobContext(sqlite_api.settings, sqlite_api.database, ())) == "0 files removed"
    assert rows(sqlite_api, cache_files) == []


def test_no_upload_fills_the_disk(sqlite_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panda_node.web.groups.file_server.MIN_FREE", 2**60)
    refused = upload(sqlite_api, "jobO.1")
    assert refused["message"] == "ERROR: upload failure. The disk of this server is nearly full; try again later."
    assert list((sqlite_api.node.directory / "pandacache").iterdir()) == []
    assert "is nearly full" in sqlite_api.node.log("panda-Entry.log")


PLUGINS = """
class Picky:
    def check(self, job, files, report):
        return "the site says no"

    def prepare(self, parameters):
        parameters["nEvents"] = 1
"""


def test_plugins_of_a_site_have_their_say(sqlite_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site_plugins.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = {"adder_plugins": "wlcg:site_plugins:Picky", "setupper_plugins": "local:site_plugins:Picky"}
    sqlite_api.node.server.update(entries)
    sqlite_api.node.write()
    sqlite_api.settings = sqlite_api.node.settings()
    sqlite_api.submit(nEvents=5, maxAttempt=1)
    assert sqlite_api.daemon("split_tasks") == ["1 tasks, 1 jobs made, 0 tasks broken"]
    (job,) = sqlite_api.acquire()
    sqlite_api.finish(job)
    assert sqlite_api.daemon("add_main") == ["0 jobs finished, 1 failed"]
    assert rows(sqlite_api, jobs)[0].error_text == "the site says no"
    assert isinstance(plugins.Plugins(sqlite_api.settings).adder("atlas"), plugins.CheckReport)


BROKEN_PLUGIN = """
class Broken:
    def check(self, job, files, report):
        if job.name.startswith("bad"):
            raise RuntimeError("the catalogue is away")
        return ""

    def prepare(self, parameters):
        if parameters["taskName"] == "unlucky":
            raise RuntimeError("the catalogue is away")
"""


def test_a_plugin_that_fails_holds_up_its_own_work_only(
    sqlite_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugins.py").write_text(BROKEN_PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("panda_node.daemon.jobs.split_tasks.AT_ONCE", 1)
    monkeypatch.setattr("panda_node.daemon.jobs.add_main.AT_ONCE", 1)
    entries = {"adder_plugins": "any:broken_plugins:Broken", "setupper_plugins": "any:broken_plugins:Broken"}
    sqlite_api.node.server.update(entries)
    sqlite_api.node.write()
    sqlite_api.settings = sqlite_api.node.settings()
    unlucky = sqlite_api.submit(taskName="unlucky")
    for name in ("bad", "good"):
        sqlite_api.submit(taskName=name, nEvents=1)
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(tasks).values(modified=tasks.c.modified - 60 + tasks.c.task_id))
    for _ in range(3):
        sqlite_api.daemon("split_tasks")
    assert {task.name: task.status for task in rows(sqlite_api, tasks)} == {
        "unlucky": "registered",
        "bad": "running",
        "good": "running",
    }
    info = sqlite_api.get("task/get_detailed_info", f"task_id={unlucky}")["data"]
    assert "its jobs cannot be made yet" in info["errorDialog"]
    for job in sqlite_api.acquire(n_jobs=2):
        sqlite_api.finish(job)
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(jobs).values(modified=jobs.c.modified - 60 + jobs.c.job_id))
    assert sqlite_api.daemon("add_main", "add_main") == ["0 jobs finished, 0 failed", "1 jobs finished, 0 failed"]
    assert {job.name: job.status for job in rows(sqlite_api, jobs)} == {
        "bad.000001": "holding",
        "good.000001": "finished",
    }


@pytest.mark.parametrize("entry", ["x", "local:no.such.module:A", "local:json:NoSuch", "local:json:JSONDecoder"])
def test_a_plugin_that_cannot_be_loaded_stops_the_start(node: Any, entry: str) -> None:
    node.server["adder_plugins"] = entry
    node.write()
    with pytest.raises(ConfigurationError, match=r"\[server\] adder_plugins: "):
        plugins.Plugins(node.settings())
    assert any("adder_plugins" in fault for fault in faults([node.directory / "etc/panda"], None, node.environment))
    done = node.run("daemon")
    assert (done.returncode, "adder_plugins" in done.stdout) == (2, True)


def test_a_database_that_hangs_is_given_up_after_the_time_limit_and_used_again_after(
    postgres_node: Any, postgres: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "GRACE", 0)
    monkeypatch.setattr(drivers.connect, "__defaults__", (1, False))
    postgres_node.server.update(dbtimeout=1)
    api = request.getfixturevalue("postgres_api")
    api.submit(nEvents=1)
    api.daemon("split_tasks")
    headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=pilot"}
    headers["Content-Type"] = "application/json"
    with postgres.hanging():
        for _ in range(2):  # in the middle of its work, and while connecting
            start = time.monotonic()
            answer = api.client.simulate_post(
                "/api/v1/pilot/acquire_jobs", body='{"site_name": "TEST_SITE"}', headers=headers
            )
            assert (answer.status_code, answer.json["success"]) == (503, False)
            assert time.monotonic() - start < 5
    assert len(api.acquire()) == 1


def test_without_the_database_calls_are_told_so_and_work_again_by_themselves(postgres_api: Any, postgres: Any) -> None:
    api = postgres_api
    api.submit(nEvents=1)
    api.daemon("split_tasks")
    headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=pilot"}
    body = '{"site_name": "TEST_SITE"}'
    headers["Content-Type"] = "application/json"
    postgres.stop()
    try:
        for _ in range(2):
            answer = api.client.simulate_post("/api/v1/pilot/acquire_jobs", body=body, headers=headers)
            assert (answer.status_code, answer.json["success"]) == (503, False)
            assert answer.headers["retry-after"] == "10"
            assert "127.0.0.1" not in answer.text
        assert api.client.simulate_post("/server/panda/getJob", body="siteName=A", headers=headers).status_code == 503
        assert api.get("system/is_alive")["success"]
    finally:
        postgres.start()
    assert len(api.acquire()) == 1
