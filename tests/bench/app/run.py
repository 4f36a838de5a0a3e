"""How many requests per second the bundled application answers, on PostgreSQL, by number of workers.

gunicorn, PostgreSQL and wrk share this machine, as in the figures that the public package was measured with. Requests
carry the headers that httpd sets for a pilot's certificate; httpd itself is not part of the measurement.

    python tests/bench/app/run.py --workers 1 2 4 --seconds 10
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from panda_node.daemon.job import JobContext
from panda_node.daemon.jobs import split_tasks
from panda_node.db.pool import Database
from panda_node.db.tables import jobs
from panda_node.identity import Identity
from panda_node.work import tasks
from sqlalchemy import func, select

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

# Found through the line above.
from app.tests.api import TASK  # noqa: E402
from app.tests.databases import Postgres  # noqa: E402
from app.tests.front import serving  # noqa: E402
from app.tests.nodes import Node  # noqa: E402

PILOT = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "/DC=test/CN=pilot", "Content-Type": "application/json"}
EMPTY = """
wrk.method = "POST"
wrk.body = '{"site_name": "EMPTY_SITE", "node": "wn1"}'
"""


def wrk(url: str, seconds: int, connections: int, script: str | Path | None = None) -> str:
    """Runs wrk; returns requests per second, latencies and errors in one line."""
    command = ["wrk", "--threads", "2", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
    for name, value in PILOT.items():
        command += ["--header", f"{name}: {value}"]
    if isinstance(script, str):
        file = Path(tempfile.mkstemp(suffix=".lua")[1])
        file.write_text(script)
        script = file
    if script:
        command += ["--script", str(script)]
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout

    def found(pattern: str) -> str:
        match = re.search(pattern, output)
        return match[1] if match else "-"

    rate, middle, late = found(r"Requests/sec: +([\d.]+)"), found(r"50% +(\S+)"), found(r"99% +(\S+)")
    errors = found(r"(Non-2xx.*|Socket errors.*)")
    return f"{float(rate):8.0f} req/s  p50 {middle:>8}  p99 {late:>8}  errors: {errors}"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=20_000)
    options = parser.parse_args()
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; {options.connections} connections")
    with tempfile.TemporaryDirectory(prefix="panda-bench-") as folder:
        directory = Path(folder)
        directory.chmod(0o755)
        (directory / "postgres").mkdir()
        postgres = Postgres(directory / "postgres", programs)
        postgres.start()
        try:
            for workers in options.workers:
                _measure(directory / f"node-{workers}", postgres, workers, options)
        finally:
            postgres.stop()


def _measure(directory: Path, postgres: Postgres, workers: int, options: argparse.Namespace) -> None:
    place = {"dbhost": "127.0.0.1", "dbport": postgres.port, "dbuser": "panda", "dbpasswd": "$PANDA_DB_PASSWORD"}
    server = {"backend": "postgres", "dbname": postgres.new_database(), **place, "production_dns": "CN=pilot"}
    node = Node(directory, server)
    node.install_schema()
    database = Database(node.settings().database)
    with serving(node, workers) as (url, _):
        alive = wrk(f"{url}/api/v1/system/is_alive", options.seconds, options.connections)
        print(f"{workers} workers  is_alive                   {alive}", flush=True)
        empty = wrk(f"{url}/api/v1/pilot/acquire_jobs", options.seconds, options.connections, EMPTY)
        print(f"{workers} workers  acquire_jobs, empty queue  {empty}", flush=True)
        user = Identity("/DC=test/CN=alice", "/DC=test/CN=alice", "alice")
        with database.writing("benchmark") as connection:
            parameters = {**TASK, "nEvents": min(options.jobs, 20_000), "uniqueTaskName": False}
            tasks.submit(connection, user, False, parameters, None)
        split_tasks.run(JobContext(node.settings(), database, ()))
        line = wrk(url, options.seconds, options.connections, Path(__file__).with_name("pairs.lua"))
        with database.reading("benchmark") as connection:
            query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
            counts = {row[0]: row[1] for row in connection.execute(query)}
        done = counts.get("running", 0) / options.seconds
        print(f"{workers} workers  acquire_jobs + update_job  {line}  ({done:.0f} pairs/s; {counts})", flush=True)
    database.close()


if __name__ == "__main__":
    main()
