"""Plugins of a site, which have their say on tasks and on finished jobs."""

from pathlib import Path
from typing import Any

import pytest
from panda_node.config_check import faults
from panda_node.db.tables import jobs, tasks
from panda_node.errors import ConfigurationError
from panda_node.work import plugins
from sqlalchemy import update

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
    assert sqlite_api.rows(jobs)[0].error_text == "the site says no"
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
    assert {task.name: task.status for task in sqlite_api.rows(tasks)} == {
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
    assert {job.name: job.status for job in sqlite_api.rows(jobs)} == {
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
