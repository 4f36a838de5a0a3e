"""A node's application, called in this process."""

import importlib
import json
from typing import Any

from falcon import testing as falcon_testing
from panda_node.daemon.job import JobContext
from panda_node.db.pool import Database
from panda_node.web import create_application
from panda_node.work import jobs as work
from sqlalchemy import Table, func, select, update

from app.tests.identities import certificate_headers
from app.tests.nodes import Node


class Api:
    """A node's application, called as a client, a pilot and the daemon would."""

    def __init__(self, node: Node) -> None:
        node.server.update(production_dns="CN=pilot", cache_dir=node.directory / "pandacache", pserverhost="localhost")
        node.server.setdefault("heartbeat_timeout", 1000)
        node.write()
        node.install_schema()
        self.node = node
        self.settings = node.settings()
        self.client = falcon_testing.TestClient(create_application(self.settings))
        self.database = Database(self.settings.database)

    def get(self, method: str, query: str = "", who: str = "alice") -> Any:
        path = f"/api/v1/{method}?{query}" if query else f"/api/v1/{method}"
        answer = self.client.simulate_get(path, headers=certificate_headers(f"/DC=test/CN={who}"))
        assert answer.status_code == 200, answer.text
        return answer.json

    def post(self, method: str, who: str = "alice", **arguments: object) -> Any:
        headers = {**certificate_headers(f"/DC=test/CN={who}"), "Content-Type": "application/json"}
        answer = self.client.simulate_post(f"/api/v1/{method}", body=json.dumps(arguments), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    def daemon(self, *names: str) -> list[str]:
        """Runs jobs of the daemon, in turn, and returns what they say."""
        modules = [importlib.import_module(f"panda_node.daemon.jobs.{name}") for name in names]
        return [module.run(JobContext(self.settings, self.database, ())) for module in modules]

    def submit(self, who: str = "alice", **changes: object) -> int:
        """A task as prun sends it; three jobs unless something else is said."""
        answer = self.post("task/submit", who, task_parameters={**TASK, **changes}, parent_tid=None)
        assert answer["success"], answer
        return int(answer["data"])

    def acquire(self, who: str = "pilot", **arguments: object) -> list[dict[str, Any]]:
        wanted = {"site_name": "TEST_SITE", "prod_source_label": "user", **arguments}
        answer = self.post("pilot/acquire_jobs", who, **wanted)
        return answer["data"]["jobs"] if answer["success"] else []

    def report(self, job_id: int, status: str, **more: object) -> Any:
        return self.post("pilot/update_job", "pilot", job_id=job_id, job_status=status, **more)

    def finish(self, job: dict[str, Any]) -> None:
        """Reports a job as done, with all its files."""
        names = [name for name in job["outFiles"].split(",") if name]
        entry = {"guid": "1234", "fsize": 5, "adler32": "abcd"}
        done = self.report(job["PandaID"], "finished", job_output_report=json.dumps(dict.fromkeys(names, entry)))
        assert done["data"] == {"StatusCode": 0, "command": "NULL"}

    def rows(self, table: Table) -> list[Any]:
        """What a table holds, by its key."""
        with self.database.reading("test") as connection:
            return list(connection.execute(select(table).order_by(table.primary_key.columns[0])).all())

    def age(self, seconds: int, *tables: Table) -> None:
        """Makes every row of the tables look as if it had last been heard of so long ago."""
        with self.database.writing("test") as connection:
            for table in tables:
                connection.execute(update(table).values(modified=work.now() - seconds))

    def count(self, table: Table) -> dict[str, int]:
        """How many rows a table has in each state."""
        with self.database.reading("test") as connection:
            rows = connection.execute(select(table.c.status, func.count()).group_by(table.c.status))
            return {row[0]: row[1] for row in rows}


TASK = {
    "taskName": "user.alice.test/",
    "uniqueTaskName": True,
    "vo": "wlcg",
    "architecture": None,
    "processingType": "panda-client-2.2.0-jedi-run",
    "prodSourceLabel": "user",
    "site": "TEST_SITE",
    "nEvents": 3,
    "nEventsPerJob": 1,
    "sourceURL": "https://localhost:25443",
    "log": {
        "dataset": "user.alice.test.log/",
        "type": "template",
        "param_type": "log",
        "value": "user.alice.test.log.$JEDITASKID.${SN}.log.tgz",
    },
    "jobParameters": [
        {"type": "constant", "value": '-j "" --sourceURL ${SURL}'},
        {"type": "constant", "value": "__delimiter__", "hidden": True},
        {
            "type": "template",
            "value": "user.alice.$JEDITASKID._${SN/P}.out.dat",
            "param_type": "output",
            "dataset": "user.alice.test_out.dat/",
            "hidden": True,
        },
        {"type": "constant", "value": '-p "', "padding": False},
        {"type": "constant", "value": "echo%20${SN}", "padding": False},
        {"type": "constant", "value": '"'},
    ],
    "noInput": True,
}
