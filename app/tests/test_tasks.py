"""Tasks through the API and the daemon, from submission to their end and their deletion."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from panda_node.daemon.jobs import delete_finished
from panda_node.db.tables import files, jobs, tasks, workers
from panda_node.errors import RefusalError
from panda_node.web.groups import task as task_group
from panda_node.work import splitting
from panda_node.work.job_specification import JOB_ATTRIBUTES
from panda_node.work.splitting import MAX_JOBS, split
from sqlalchemy import update


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
    assert {(file.status, file.guid, file.size) for file in api.rows(files)} == {("ready", "1234", 5)}
    shown = api.get("task/get_tasks_detailed_info_since", "since=2020-01-01+00:00:00")["data"]
    assert [(task["jediTaskID"], task["pctFinished"], task["superStatus"]) for task in shown] == [
        (task_id, 100, "finished")
    ]
    details = api.get("task/get_details", f"task_id={task_id}&include_status=true&include_parameters=true")["data"]
    assert (details["statistics"], details["status"], details["mergeStatus"]) == ("finished*3", "finished", None)
    assert details["outDS"] == "user.alice.test_out.dat/,user.alice.test.log/"
    assert len(details["PandaID"]) == 3
    assert api.get("task/get_task_parameters", f"task_id={task_id}")["data"]["taskName"] == "user.alice.test/"
    assert api.get("task/get_detailed_info", f"task_id={task_id}")["data"]["nFilesFinished"] == 3


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
        assert (answer["success"], answer["data"], problem in answer["message"]) == (False, None, True), answer
    assert api.get("task/get_status", f"task_id={task_id}")["data"] == "finished", "a refusal changes nothing"
    changes = {"site": "BIG_SITE", "ramCount": 8000, "coreCount": 4, "maxAttempt": 2, "currentPriority": 950}
    assert api.post("task/retry", task_id=task_id, new_parameters=json.dumps(changes))["data"] == 3
    assert api.acquire() == []
    (job,) = api.acquire(site_name="BIG_SITE")
    shown = (job["minRamCount"], job["coreCount"], job["resource_type"], job["attemptNr"], job["currentPriority"])
    assert shown == (8000, 4, "MCORE", 2, 950)
    assert api.rows(jobs)[-1].max_attempts == 3, "two more"
    assert api.get("task/get_task_parameters", f"task_id={task_id}")["data"]["ramCount"] == 8000


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"ramCount": 3000}, (6000, 2, "MCORE")),
        ({"coreCount": 4}, (8000, 4, "MCORE")),
        ({"coreCount": 1, "ramCount": 500}, (500, 1, "SCORE")),
        ({"maxAttempt": 1}, (4000, 2, "MCORE")),
    ],
)
def test_a_retry_keeps_to_memory_for_each_core(
    sqlite_api: Any, changes: dict[str, int], shown: tuple[int, int, str]
) -> None:
    task_id = sqlite_api.submit(nEvents=1, coreCount=2, ramCount=2000, ramUnit="MBPerCore", maxAttempt=1)
    sqlite_api.daemon("split_tasks")
    (job,) = sqlite_api.acquire()
    assert job["minRamCount"] == 4000
    sqlite_api.report(job["PandaID"], "failed")
    sqlite_api.daemon("add_main", "close_tasks")
    assert sqlite_api.post("task/retry", task_id=task_id, new_parameters=changes)["data"] == 3
    (job,) = sqlite_api.acquire()
    assert (job["minRamCount"], job["coreCount"], job["resource_type"]) == shown


@pytest.mark.parametrize(
    ("who", "given", "priority"),
    [
        ("alice", {}, 1000),
        ("alice", {"taskPriority": 5000}, 1000),
        ("alice", {"currentPriority": 900, "taskPriority": 1050}, 900),
        ("alice", {"currentPriority": 1100}, 1100),
        ("alice", {"currentPriority": 1101}, 1000),
        ("alice", {"currentPriority": 5}, 1000),
        ("pilot", {"currentPriority": 5000, "taskPriority": 7}, 5000),
        ("pilot", {"taskPriority": 7}, 7),
        ("pilot", {"taskPriority": "high"}, 1000),
    ],
)
def test_a_task_has_the_priority_that_its_sender_may_give(
    sqlite_api: Any, who: str, given: dict[str, object], priority: int
) -> None:
    sqlite_api.submit(who, **given)
    assert [task.priority for task in sqlite_api.rows(tasks)] == [priority]


def test_a_retry_gives_the_priority_that_its_sender_may_give(sqlite_api: Any) -> None:
    task_id = sqlite_api.submit(site=None, currentPriority=950)
    for who, given, priority in (
        ("alice", {"taskPriority": 5000}, 950),
        ("alice", {"currentPriority": 5000}, 1000),
        ("pilot", {"nEvents": 1}, 1000),
        ("pilot", {"currentPriority": 5000}, 5000),
    ):
        with sqlite_api.database.writing("test") as connection:
            connection.execute(update(tasks).values(status="broken"))
        assert sqlite_api.post("task/retry", who, task_id=task_id, new_parameters=given)["data"] == 3
        assert sqlite_api.rows(tasks)[0].priority == priority


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
        "data": None,
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


def test_the_details_name_each_container_once(sqlite_api: Any) -> None:
    def item(kind: str, dataset: str, container: str | None = None) -> dict[str, object]:
        return {"param_type": kind, "dataset": dataset, "container": container, "files": ["a"], "value": f"{dataset}.x"}

    items = [item("input", "in"), item("input", "in"), {"value": 1}]
    items += [item("output", "out.1", "out/"), item("output", "out.2", "out/"), item("output", "other")]
    task_id = sqlite_api.submit(jobParameters=items, log="x")
    details = sqlite_api.get("task/get_details", f"task_id={task_id}")["data"]
    assert (details["inDS"], details["outDS"], details["statistics"]) == ("in", "out/,other", "")
    sqlite_api.daemon("split_tasks")
    assert sqlite_api.get("task/get_details", f"task_id={task_id}")["data"]["statistics"] == "activated*1"


def test_a_command_that_is_not_done_has_the_public_packages_code(sqlite_api: Any) -> None:
    task_id = sqlite_api.submit()
    messages: set[str] = set()

    def answers(who: str, task_id: int) -> dict[str, tuple[bool, int | None]]:
        given = {name: sqlite_api.post(f"task/{name}", who, task_id=task_id) for name in ("kill", "finish", "retry")}
        given["change"] = sqlite_api.post("task/retry", who, task_id=task_id, new_parameters={"site": "BIG_SITE"})
        messages.update(answer["message"] for answer in given.values())
        return {name: (answer["success"], answer["data"]) for name, answer in given.items()}

    not_mine = dict.fromkeys(("kill", "finish", "retry", "change"), (False, None))
    assert answers("bob", task_id) == answers("bob", 12345) == not_mine
    assert messages == {"not the task owner or no production role"}
    messages.clear()
    unknown = {"kill": (False, 2), "finish": (False, 2), "retry": (True, 2), "change": (True, 2)}
    assert answers("pilot", 12345) == unknown
    assert messages == {"jediTaskID=12345 not found"}
    sqlite_api.daemon("split_tasks")
    sqlite_api.acquire()
    assert sqlite_api.post("task/kill", task_id=task_id)["data"] == 0
    messages.clear()
    rejected = {"kill": (False, 4), "finish": (False, 4), "retry": (True, 4), "change": (True, 2)}
    assert answers("alice", task_id) == rejected
    assert messages == {
        f"Command rejected: the {command} command is not accepted if the task is in aborting status"
        for command in ("kill", "finish", "retry")
    }
    assert sqlite_api.get("task/get_status", f"task_id={task_id}")["data"] == "aborting"


@pytest.mark.parametrize("status", ["finished", "failed", "aborted", "broken"])
def test_a_task_that_has_ended_is_only_tried_again(sqlite_api: Any, status: str) -> None:
    task_id = sqlite_api.submit()
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(tasks).values(status=status))
    for command in ("kill", "finish"):
        answer = sqlite_api.post(f"task/{command}", task_id=task_id)
        assert (answer["success"], answer["data"]) == (False, 4)
    answer = sqlite_api.post("task/retry", task_id=task_id, new_parameters={"site": "BIG_SITE"})
    message = f"reactivation accepted. jediTaskID={task_id} (currently in {status} state) will be re-executed"
    assert (answer["success"], answer["data"], answer["message"].startswith(message)) == (True, 3, True)


def test_finishing_a_task_early(api: Any) -> None:
    task_id = api.submit()
    api.daemon("split_tasks")
    (job,) = api.acquire()
    assert api.post("task/finish", task_id=task_id, soft=True)["success"]
    assert api.report(job["PandaID"], "running")["data"]["command"] == "NULL"
    api.finish(job)
    assert api.daemon("add_main", "close_tasks")[1] == "1 tasks: 1 finished"
    assert api.count(jobs) == {"cancelled": 2, "finished": 1}


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
    assert sqlite_api.rows(tasks) == []


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
        ('filters={"status":"(a%2B)%2B$"}', "filters: status: a pattern is * .* | ^ $ and text, 100 characters"),
        ('filters={"site":"%5C%5CS*"}', "filters: site: a pattern is"),
        ('filters={"taskName":"*' + "a" * 100 + '"}', "filters: taskName: a pattern is"),
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


def test_tasks_are_listed_by_number_and_found_by_pattern(sqlite_api: Any) -> None:
    first, second = sqlite_api.submit(taskName="user.alice.one/"), sqlite_api.submit(taskName="user.alice.two/")
    sqlite_api.submit("bob")
    third = sqlite_api.submit(taskName="user.alice.three/", site="BIG_SITE")
    sqlite_api.post("task/kill", task_id=first)
    listing = "task/get_tasks_detailed_info_since"

    def found(n_tasks: int = 500, **filters: str) -> list[int]:
        text = quote(json.dumps(filters))
        return [task["jediTaskID"] for task in sqlite_api.get(listing, f"n_tasks={n_tasks}&filters={text}")["data"]]

    assert found() == [first, second, third]
    assert found(n_tasks=2) == [second, third]
    assert found(status="aborting|broken") == [first]
    assert found(taskName="alice.*t", status="registered") == [second, third]
    assert found(taskName="^user.alice.t*o/$") == [second]
    assert found(taskName="*e/$", n_tasks=2) == [third]
    assert found(taskName="^alice*") == found(taskName="t*o*t") == []
    assert found(site="^BIG|NONE$") == [third]
    assert found(jediTaskID=f"^{first}$|^{third}$") == [first, third]
    assert found(userName="bob|alice") == [first, second, third], "a pattern opens nobody else's tasks"


def test_what_a_task_has_done_is_rounded(sqlite_api: Any) -> None:
    task_id = sqlite_api.submit()
    sqlite_api.daemon("split_tasks")
    for job in sqlite_api.acquire(n_jobs=2):
        sqlite_api.finish(job)
    sqlite_api.daemon("add_main")
    assert sqlite_api.get("task/get_detailed_info", f"task_id={task_id}")["data"]["pctFinished"] == 67


def test_what_ended_long_ago_is_deleted_as_a_whole(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delete_finished, "BATCH", 2)
    ended, running = api.submit(taskName="ended"), api.submit(taskName="running", nEvents=1, currentPriority=900)
    state = ["TEST_SITE" if name == "computingSite" else "NULL" for name in JOB_ATTRIBUTES]
    killed = api.post("job/submit", jobs=json.dumps([[*state, []]]))["data"][0][0]
    assert api.post("job/kill", job_ids=[killed])["data"] == [True]
    api.daemon("split_tasks")
    for job in api.acquire(n_jobs=3, task_id=ended):
        api.finish(job)
    api.acquire(task_id=running, harvester_id="h", worker_id=1)
    api.daemon("add_main", "close_tasks")
    assert api.daemon("delete_finished") == ["0 tasks, 0 jobs, 0 workers deleted"]
    api.age(91 * 86400, jobs, tasks, workers)
    recent = api.submit(taskName="recent", nEvents=1)
    api.post("task/kill", task_id=recent)
    assert api.daemon("close_tasks") == ["1 tasks: 1 aborted"]
    assert api.daemon("delete_finished") == ["1 tasks, 4 jobs, 1 workers deleted"]
    assert [task.task_id for task in api.rows(tasks)] == [running, recent]
    assert [job.task_id for job in api.rows(jobs)] == [running]
    assert {file.job_id for file in api.rows(files)} == {api.rows(jobs)[0].job_id}
    assert api.rows(workers) == []
    assert api.get("task/get_status", f"task_id={ended}")["message"] == "Task not found"
    assert api.get("job/get_status", f"job_ids={killed}")["data"] == [{"command": "tobekilled", "status": "unknown"}]


def test_a_task_that_is_being_deleted_is_left_alone(sqlite_api: Any) -> None:
    task_id = sqlite_api.submit()
    with sqlite_api.database.writing("test") as connection:
        connection.execute(update(tasks).values(status="obsolete"))
    for command in ("retry", "kill", "finish"):
        answer = sqlite_api.post(f"task/{command}", task_id=task_id)
        assert (answer["data"], "obsolete" in answer["message"]) == (4, True)
