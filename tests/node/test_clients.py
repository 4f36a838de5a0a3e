"""What released clients and pilots do, done to a provisioned node over https with certificates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils import demo_ca

from app.tests.pilot import Pilot
from app.tests.test_stock_client import Client, wait_for

from ..unit.conftest import ROOT

CONTRACT_SITE, CLIENT_SITE = "CONTRACT_SITE", "TEST_SITE"
PILOT = "pilot"


@dataclass
class Authority:
    """The authority whose client certificates the node accepts."""

    folder: Path
    made_in: Path

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str) -> Path:
        """A file with certificate and key of somebody."""
        made = demo_ca.host_certificate(self.folder, name, [name])
        path = self.made_in / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_text(made.certificate + made.key)
        return path


@dataclass
class Front:
    """The node as the stock client is told of it."""

    url: str
    authority: Authority


@pytest.fixture
def front(host: Any, outside: Any, service: Any, settings: dict[str, Any], tmp_path: Path) -> Front:
    if f"CN={PILOT}" not in settings["panda_server_production_dns"]:
        pytest.skip("no client has the production role, which a pilot needs (panda_server_production_dns)")
    queues = {site: {"siteid": site, "status": "online"} for site in (CONTRACT_SITE, CLIENT_SITE)}
    queue_file = host.check_output("mktemp --tmpdir queues-XXXXXX.json")
    host.run_expect([0], "echo %s > %s && chmod 644 %s", json.dumps(queues), queue_file, queue_file)
    loaded = service.run("panda-node", "queue", "load", queue_file)
    assert loaded.rc == 0, loaded.stderr
    authority = Authority(Path(host.backend.get_variables()["scenario_folder"]), tmp_path)
    return Front(f"https://{outside.address}:{outside.port_ssl}", authority)


def test_prun_submits_a_pilot_runs_and_the_task_ends_finished(front: Front, tmp_path: Path) -> None:
    alice = front.authority.issue("alice")
    client = Client(front, tmp_path / "alice", PANDA_AUTH="x509_no_grid", X509_USER_PROXY=str(alice))
    task_id = client.submit(f"user.alice.{time.time_ns()}", jobs=2)
    pilot = Pilot(front.url, front.authority.issue(PILOT), front.authority.file, tmp_path / "pilot")
    for _ in range(2):
        pilot.run(CLIENT_SITE)
    assert pilot.outputs.count("hello from the sandbox\njob 42\n") == 2
    wait_for(front, alice, task_id, "finished")


def test_the_contract_is_kept(front: Front) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "--quiet", str(ROOT / "tests" / "contract"),
            f"--base-url={front.url}", f"--ca={front.authority.file}",
            f"--user-cert={front.authority.issue('alice')}", f"--pilot-cert={front.authority.issue(PILOT)}",
            f"--site={CONTRACT_SITE}", "--settle=30",
        ],
        cwd=ROOT,
        # Not the options of the run that this test is part of, which name a file for its results.
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
