"""The whole contract, which needs the whole PanDA database: from a checkout of panda-database where one is named.

See tests/contract/README.md. Its database is a host of its own, made by playbooks/database.yml; the node is taken to it
and back.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import demo_ca

from tests.contract.conftest import Caller
from tests.fleet.conftest import ROOT, Fleet

CHECKOUT = os.environ.get("PANDA_DATABASE_CHECKOUT", "")
AUTHORITY = ROOT / ".cache" / "molecule" / "panda_server" / "ca.pem"
NODE, DATABASE, PASSWORD = "atlas-pandaserver-09", "atlas-pandadb-02", "of the contract's own"
QUEUE = "TEST_SITE"
JOBS = {name: {"enable": True, "period": 5} for name in ("add_main", "add_sub", "async_request_daemon")}
PACKAGES = "postgresql-15 postgresql-15-cron postgresql-15-partman"
POSTGRES = """\
listen_addresses = '*'
shared_preload_libraries = 'pg_cron,pg_partman_bgw'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 20
pg_partman_bgw.dbname = 'panda_db'
"""
DEFINITION = {
    "siteid": QUEUE, "nickname": QUEUE, "panda_resource": QUEUE, "panda_queue": QUEUE, "name": QUEUE, "gocname": "TEST",
    "atlas_site": "TEST", "cloud": "WORLD", "state": "ACTIVE", "status": "online", "type": "unified", "vo_name": "test",
    "allow_lan": True, "corecount": 1, "corepower": 10, "maxtime": 3600, "mintime": 0, "maxrss": 4000, "minrss": 0,
    "maxwdir": 10000, "maxinputsize": 10000, "timefloor": 0, "releases": "", "cmtconfig": "", "validatedreleases": "",
    "catchall": "", "resource_type": "GRID", "harvester": "", "capability": "score", "workflow": "pull_ups",
    "pilot_manager": "Harvester", "fairsharepolicy": "type=any:100%", "tier": "T2", "copytools": {}, "acopytools": {},
    "astorages": {}, "queues": [], "params": {}, "container_type": "", "container_options": "", "environ": "",
    "appdir": "", "region": "", "jobseed": "std", "parent_name": "", "wnconnectivity": "full", "is_cvmfs": False,
    "uconfig": {}, "coreenergy": 10, "system": "std", "special_par": "",
}  # fmt: skip
"""What a queue needs so that the package hands out its jobs."""
TASK = {
    "vo": "wlcg", "prodSourceLabel": "user", "processingType": "panda-client-jedi-run", "taskType": "anal",
    "taskPriority": 1000, "userName": "alice", "site": QUEUE, "cloud": "WORLD", "architecture": "", "transUses": "",
    "transHome": "", "transPath": "http://localhost/trf/user/runGen-00-00-02", "noInput": True, "nEvents": 2,
    "nEventsPerJob": 1, "coreCount": 1, "ramCount": 100, "walltime": 0,
    "jobParameters": [{"type": "constant", "value": '-p "true"'}],
}  # fmt: skip
"""What JEDI needs to know of a task."""

pytestmark = pytest.mark.skipif(
    not CHECKOUT,
    reason="PANDA_DATABASE_CHECKOUT names no checkout of panda-database, whose schema the whole contract needs",
)


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a PostgreSQL server with the schema of the checkout, and a queue in it."""
    fleet = Fleet(request.config.getoption("--ansible-inventory"), "panda_server")
    address = fleet.addresses[NODE].rpartition(".")[0] + ".21"
    boot = [sys.executable, "tools/node.py", "boot", "panda-panda_server", DATABASE, "debian12", address]
    subprocess.run(boot, cwd=ROOT, check=True)
    ssh = ["ssh", "-F", ".cache/ssh/config", address]
    for command, given in (
        (f"apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install {PACKAGES} >/dev/null", ""),
        ("cat > /etc/postgresql/15/main/conf.d/panda.conf", POSTGRES),
        ("cat >> /etc/postgresql/15/main/pg_hba.conf", "host panda_db panda samenet scram-sha-256\n"),
        ("systemctl restart postgresql@15-main", ""),
    ):
        subprocess.run([*ssh, command], cwd=ROOT, input=given, text=True, check=True)
    hosts = tmp_path_factory.mktemp("database") / "hosts.json"
    reached = {"ansible_host": address, "ansible_ssh_common_args": "-F .cache/ssh/config"}
    hosts.write_text(json.dumps({"panda_databases": {"hosts": {DATABASE: reached}}}))
    fleet.inventory = [str(hosts)]
    variables = {"panda_database_source": CHECKOUT, "panda_database_password": PASSWORD}
    fleet.play("playbooks/database.yml", "-e", json.dumps(variables))
    queue = (
        "INSERT INTO doma_panda.site (site_name, role) VALUES ('TEST', 'test');"
        f"INSERT INTO doma_panda.panda_site (panda_site_name, site_name) VALUES ('{QUEUE}', 'TEST');"
        f"INSERT INTO doma_panda.schedconfig_json (panda_queue, data, last_update) "
        f"VALUES ('{QUEUE}', '{json.dumps(DEFINITION)}', now());"
    )
    psql = "runuser -u postgres -- psql --quiet --set=ON_ERROR_STOP=1 panda_db"
    subprocess.run([*ssh, psql], cwd=ROOT, input=queue, text=True, check=True)
    yield address
    subprocess.run(["docker", "rm", "--force", "--volumes", f"panda-panda_server.{DATABASE}"], check=True)


@pytest.fixture(scope="module")
def node_on_it(request: pytest.FixtureRequest, database: str) -> Iterator[None]:
    """The node with that database, and JEDI; with its own again, and without, afterwards."""
    fleet = Fleet(request.config.getoption("--ansible-inventory"), "panda_server")
    variables = {"dbhost": database, "dbname": "panda_db", "dbpasswd": PASSWORD, "daemon_jobs": JOBS}
    variables["jedi_enabled"] = True
    named = {f"panda_server_{name}": value for name, value in variables.items()}
    fleet.play("site.yml", "-l", NODE, "-e", json.dumps(named))
    yield
    fleet.play("site.yml", "-l", NODE)


def client(folder: Path, name: str) -> Path:
    """A file with certificate and key of a client of this name."""
    made = demo_ca.host_certificate(AUTHORITY.parent, name, [name])
    file = folder / f"{name}.pem"
    file.write_text(made.certificate + made.key)
    return file


def test_the_package_keeps_the_contract(outside: Any, node_on_it: None, tmp_path: Path) -> None:
    options = {
        "--base-url": f"https://{outside.address}:{outside.port_ssl}", "--ca": AUTHORITY, "--site": QUEUE,
        "--user-cert": client(tmp_path, "alice"), "--pilot-cert": client(tmp_path, "pilot"), "--settle": 60,
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "--quiet", "tests/contract", *sum(options.items(), ())]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "skipped" not in done.stdout


def test_jedi_takes_a_task_and_makes_it_ready(outside: Any, node_on_it: None, tmp_path: Path, eventually: Any) -> None:
    context = ssl.create_default_context(cafile=str(AUTHORITY))
    context.load_cert_chain(client(tmp_path, "alice"))
    alice = Caller(f"https://{outside.address}:{outside.port_ssl}", context)
    name = f"user.alice.{time.time_ns()}"
    log = {"type": "template", "param_type": "log", "token": "local", "destination": "local"}
    log |= {"dataset": f"{name}.log/", "value": f"{name}.log.${{SN}}.log.tgz"}
    task = {**TASK, "taskName": f"{name}/", "log": log}
    task_id = alice.post("task/submit", task_parameters=task, parent_tid=None)["data"]
    eventually(lambda: alice.get("task/get_status", task_id=task_id)["data"], "ready", within=120)
