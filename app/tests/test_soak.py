"""Many pilots on several nodes whose workers are killed at random: every piece of work runs once, and none is lost."""

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from panda_node.db.tables import jobs
from sqlalchemy import select

JOBS = int(os.environ.get("PANDA_SOAK_JOBS", "400"))
PILOTS = int(os.environ.get("PANDA_SOAK_PILOTS", "8"))
WORKERS = int(os.environ.get("PANDA_SOAK_WORKERS", "2"))
HEADERS = {
    "X-SSL-Client-Verify": "SUCCESS",
    "X-SSL-Client-S-DN": "/DC=test/CN=pilot",
    "Content-Type": "application/json",
}


class Pilot(threading.Thread):
    """Takes jobs until it is told to stop. A node that breaks off is asked again, or the other one is."""

    def __init__(self, urls: list[str], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._urls = urls
        self._stop_working = stop
        self.ran: list[tuple[int, str]] = []
        self.broken_off = 0

    def run(self) -> None:
        while not self._stop_working.is_set():
            answer = self._call("acquire_jobs", site_name="TEST_SITE", prod_source_label="user")
            if answer is None or not answer["success"]:
                time.sleep(0.05)
                continue
            for job in answer["data"]["jobs"]:
                self._work(job)

    def _work(self, job: dict[str, Any]) -> None:
        number = job["PandaID"]
        if self._insist(number, "running") != "NULL":
            return  # it was taken from us meanwhile: it is not ours to run
        self.ran.append((number, job["jobName"]))
        entry = {"guid": "1", "fsize": 1, "adler32": "1"}
        report = json.dumps(dict.fromkeys(job["outFiles"].split(","), entry))
        self._insist(number, "finished", job_output_report=report)

    def _insist(self, number: int, status: str, **more: object) -> str:
        while (answer := self._call("update_job", job_id=number, job_status=status, **more)) is None:
            time.sleep(0.02)
        return str(answer["data"]["command"])

    def _call(self, method: str, **arguments: object) -> Any:
        place = urlparse(random.choice(self._urls))
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        try:
            connection.request("POST", f"/api/v1/pilot/{method}", json.dumps(arguments), HEADERS)
            answer = connection.getresponse()
            return json.loads(answer.read()) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            self.broken_off += 1
            return None
        finally:
            connection.close()


@contextlib.contextmanager
def killing(arbiters: list[int]) -> Iterator[list[int]]:
    """Kills a worker of some node several times a second."""
    killed: list[int] = []
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.3):
            arbiter = random.choice(arbiters)
            workers = Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split()
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(random.choice(workers)), signal.SIGKILL)
                    killed.append(arbiter)

    thread = threading.Thread(target=kill)
    thread.start()
    yield killed
    stop.set()
    thread.join()


def test_every_job_runs_once_though_workers_die(postgres_node: Any, serving: Any, request: Any) -> None:
    postgres_node.server.update(heartbeat_timeout=30, nDBConnection=1)
    api = request.getfixturevalue("postgres_api")
    task_id = api.submit(nEvents=JOBS, maxAttempt=1)
    api.daemon("split_tasks")
    stop = threading.Event()
    with (
        serving(postgres_node, WORKERS) as (first, one),
        serving(postgres_node, WORKERS) as (second, two),
        killing([one, two]) as killed,
    ):
        pilots = [Pilot([first, second], stop) for _ in range(PILOTS)]
        for pilot in pilots:
            pilot.start()
        deadline = time.monotonic() + 60 + JOBS / 5
        while api.get("task/get_status", f"task_id={task_id}")["data"] == "running":
            assert time.monotonic() < deadline, api.count(jobs)
            api.daemon("add_main", "expire_heartbeats", "close_tasks")
            time.sleep(0.2)
        stop.set()
        for pilot in pilots:
            pilot.join(30)
    ran = [run for pilot in pilots for run in pilot.ran]
    with api.database.reading("test") as connection:
        finished = Counter(connection.scalars(select(jobs.c.serial).where(jobs.c.status == "finished")))
    assert api.get("task/get_status", f"task_id={task_id}")["data"] == "finished"
    assert len(finished) == JOBS, "none is lost"
    assert set(finished.values()) == {1}, "none has finished twice"
    assert len(ran) == len({name for _, name in ran}) == JOBS, "none has run twice"
    assert len(killed) > 2
    print(f"{JOBS} jobs, {len(killed)} workers killed, {sum(p.broken_off for p in pilots)} calls broken off")
