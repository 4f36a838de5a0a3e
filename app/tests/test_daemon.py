"""The daemon: its one real job, and what becomes of jobs that fail, hang or belong to another node."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from panda_node import log_files
from panda_node.daemon.job import JobContext
from panda_node.daemon.jobs import cache_schedconfig
from panda_node.daemon.scheduler import Scheduler
from panda_node.db.pool import Database

JOBS = {
    "fails": "def run(context):\n    raise RuntimeError('as it does')\n",
    "hangs": "import time\ndef run(context):\n    time.sleep(60)\n",
    "stubborn": "import signal, time\ndef run(context):\n    signal.signal(15, signal.SIG_IGN)\n    time.sleep(60)\n",
    "dies": "import os\ndef run(context):\n    os.kill(os.getpid(), 9)\n",
    "notes": "def run(context):\n    open(context.arguments[0], 'a').write(context.arguments[1])\n    return 'noted'\n",
    "broken": "import no_such_module\n",
}


@pytest.fixture
def job_package(tmp_path: Path) -> Path:
    """A directory with a package `site_jobs`, as a site may add one."""
    package = tmp_path / "lib/site_jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, text in JOBS.items():
        (package / f"{name}.py").write_text(text)
    return package.parent


def use_jobs(node: Any, library: Path, **jobs: dict[str, object]) -> None:
    node.environment["PYTHONPATH"] = str(library)
    node.daemon = {"enable": True, "package": "site_jobs", "n_proc": 4, "config": json.dumps(jobs)}
    node.write()


def stop(process: "subprocess.Popen[str]", within: float = 5) -> None:
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=within)
    assert process.returncode == 0, output
    assert time.monotonic() - start < within


def context(node: Any) -> JobContext:
    settings = node.settings()
    return JobContext(settings, Database(settings.database), ())


def test_each_queue_becomes_three_files_and_all_become_one(any_node: Any) -> None:
    any_node.install_schema()
    any_node.load_queues({"CERN-1": {"status": "online", "corecount": 8, "cloud": "WORLD"}, "BNL": {}})
    outcome = cache_schedconfig.run(context(any_node))
    assert outcome == "2 queues, 7 files written, 0 removed"
    names = {file.name for file in any_node.cache.iterdir()}
    kinds = [f"{queue}.{kind}.json" for queue in ("CERN-1", "BNL") for kind in ("all", "pilot", "factory")]
    assert names == {"schedconfig.all.json", *kinds}
    complete = json.loads((any_node.cache / "CERN-1.all.json").read_text())
    assert complete == {"status": "online", "corecount": 8, "cloud": "WORLD", "siteid": "CERN-1"}
    pilot = json.loads((any_node.cache / "CERN-1.pilot.json").read_text())
    assert (pilot["corecount"], pilot["appdir"], "siteid" in pilot) == (8, "", False)
    assert json.loads((any_node.cache / "CERN-1.factory.json").read_text())["siteid"] == "CERN-1"
    assert set(json.loads((any_node.cache / "schedconfig.all.json").read_text())) == {"CERN-1", "BNL"}
    assert {oct(file.stat().st_mode & 0o777) for file in any_node.cache.iterdir()} == {"0o644"}


def test_files_change_only_when_their_content_does_and_go_with_their_queue(node: Any) -> None:
    node.install_schema()
    node.load_queues({"A": {"status": "online"}, "B": {}})
    job = context(node)
    cache_schedconfig.run(job)
    (node.cache / "other.txt").touch()
    inodes = {file.name: file.stat().st_ino for file in node.cache.iterdir()}
    assert cache_schedconfig.run(job) == "2 queues, 0 files written, 0 removed"
    assert {file.name: file.stat().st_ino for file in node.cache.iterdir()} == inodes
    node.load_queues({"A": {"status": "offline"}})
    with job.database.writing("test") as connection:
        connection.exec_driver_sql("DELETE FROM schedconfig_json WHERE panda_queue = 'B'")
    assert cache_schedconfig.run(job) == "1 queues, 4 files written, 3 removed"
    assert {file.name for file in node.cache.iterdir()} == {
        "schedconfig.all.json",
        "A.all.json",
        "A.pilot.json",
        "A.factory.json",
        "other.txt",
    }


def test_the_daemon_works_at_start_and_tells_systemd(node: Any, systemd: Any, eventually: Any) -> None:
    # One job: systemd's stand-in reads its messages late, and its socket holds ten.
    node.daemon["config"] = json.dumps({"cache_schedconfig": {"period": 300}})
    node.write()
    node.install_schema()
    node.load_queues({"A": {}})
    node.environment["NOTIFY_SOCKET"] = str(systemd.path)
    process = node.popen("panda_node.cli", "daemon")
    eventually((node.cache / "schedconfig.all.json").exists)
    eventually(lambda: any("Jobs run: 1; Failed: 0" in message for message in systemd.messages))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None, "log rotation must not end it"
    stop(process)
    assert systemd.messages[0].startswith("READY=1\nSTATUS=")
    assert systemd.messages[-1].startswith("STOPPING=1")
    assert "Next: " in systemd.messages[-2]
    assert "cache_schedconfig done in" in node.log("panda-daemons.log")
    assert "stopped after 1 runs, 0 of them failed" in node.log("panda-daemons.log")


def test_a_failing_job_is_logged_counted_and_run_again(node: Any, job_package: Path, eventually: Any) -> None:
    use_jobs(node, job_package, fails={"period": 0.3}, dies={"period": 0.3})
    process = node.popen("panda_node.cli", "daemon")
    eventually(lambda: node.log("panda-daemons.log").count("RuntimeError: as it does") >= 3)
    eventually(lambda: node.log("panda-daemons.log").count("dies was ended by signal 9") >= 3)
    stop(process)
    assert "fails failed\nTraceback" in node.log("panda-daemons.log")


def test_an_unreachable_database_fails_the_run_and_not_the_daemon(
    postgres_node: Any, postgres: Any, eventually: Any
) -> None:
    postgres_node.install_schema()
    postgres_node.daemon["config"] = json.dumps({"cache_schedconfig": {"period": 0.5}})
    postgres_node.write()
    postgres.stop()
    try:
        process = postgres_node.popen("panda_node.cli", "daemon")
        eventually(lambda: "DatabaseUnreachableError" in postgres_node.log("panda-daemons.log"))
    finally:
        postgres.start()
    eventually(lambda: "cache_schedconfig done" in postgres_node.log("panda-daemons.log"))
    stop(process)


def test_a_hanging_job_is_ended_and_run_again(node: Any, job_package: Path, eventually: Any) -> None:
    use_jobs(node, job_package, hangs={"period": 0.2, "timeout": 0.3})
    process = node.popen("panda_node.cli", "daemon")
    eventually(lambda: node.log("panda-daemons.log").count("hangs ended by force: not done within 0.3 s") >= 2)
    stop(process)


def test_a_job_that_even_force_does_not_end_is_waited_for_in_peace(node: Any, job_package: Path) -> None:
    """As in uninterruptible sleep, which cannot be had here: the process is a stand-in."""
    use_jobs(node, job_package, hangs={"timeout": 0.1})
    scheduler = Scheduler(node.settings())
    log_files.open_logs(node.directory / "log", "INFO", log_files.DAEMONS)
    (entry,) = scheduler._entries
    entry.process, entry.ends = mock.Mock(), 0.0
    for _ in range(3):
        scheduler._reap()
        assert scheduler._pause() > 1
    assert entry.process.kill.call_count == 1
    assert node.log("panda-daemons.log").count("hangs ended by force") == 1


def test_the_daemon_stops_within_seconds_while_jobs_run(node: Any, job_package: Path, eventually: Any) -> None:
    use_jobs(node, job_package, hangs={}, stubborn={})
    process = node.popen("panda_node.cli", "daemon")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    eventually(lambda: len(children.read_text().split()) == 2)
    running = children.read_text().split()
    time.sleep(0.3)
    stop(process, within=6)
    assert not any(Path(f"/proc/{child}").exists() for child in running)


def test_a_shared_job_runs_on_one_node_per_period(
    any_node: Any, job_package: Path, tmp_path: Path, eventually: Any
) -> None:
    any_node.install_schema()
    notes = tmp_path / "notes"
    use_jobs(any_node, job_package, notes={"period": 1, "sync": True, "arguments": [str(notes), "x"]})
    processes = [any_node.popen("panda_node.cli", "daemon") for _ in range(3)]
    eventually(notes.exists)
    start = time.monotonic()
    time.sleep(2.5)
    elapsed = time.monotonic() - start
    runs = len(notes.read_text())
    for process in processes:
        stop(process)
    assert 2 <= runs <= elapsed + 2, "three nodes together run it once per second, not three times"


def test_a_disabled_daemon_says_so_and_ends_well(node: Any, systemd: Any) -> None:
    node.daemon = {"enable": False}
    node.environment["NOTIFY_SOCKET"] = str(systemd.path)
    node.write()
    process = node.popen("panda_node.cli", "daemon")
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, output) == (0, "")
    assert "nothing to do: [daemon] enable is False in panda_server.cfg" in node.log("panda-daemons.log")
    assert "READY=1" in systemd.messages[0]


def test_a_job_that_cannot_be_imported_is_an_error_at_the_start(node: Any, job_package: Path) -> None:
    use_jobs(node, job_package, broken={}, absent={})
    process = node.popen("panda_node.cli", "daemon")
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "job broken: cannot import site_jobs.broken: No module named 'no_such_module'" in output
    assert "job absent: cannot import site_jobs.absent" in output
    assert "Traceback" not in output


def test_a_job_that_is_not_enabled_is_not_even_looked_for(node: Any, job_package: Path) -> None:
    use_jobs(node, job_package, absent={"enable": False})
    assert node.settings().daemon.jobs == ()
