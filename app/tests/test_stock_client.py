"""The stock client from PyPI against our server: prun submits, a pilot runs the real command, pbook shows and kills."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

# The client's own programs, from the environment that the tests run in.
SETUP = Path(sys.prefix, "etc/panda/panda_setup.sh")


class Client:
    """A user's shell with the client set up."""

    def __init__(self, front: Any, home: Path, **authentication: str) -> None:
        home.mkdir()
        certificates = home / "certificates"
        certificates.mkdir()
        shutil.copy(front.authority.file, certificates / "ca.pem")
        subprocess.run(["openssl", "rehash", certificates], check=True, capture_output=True)
        url = f"{front.url}/server/panda"
        self.home = home
        self.environment = {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PANDA_URL": url,
            "PANDA_URL_SSL": url,
            "PANDACACHE_URL": url,
            "PANDA_BEHIND_REAL_LB": "1",
            "PANDA_NICKNAME": "alice",
            "X509_CERT_DIR": str(certificates),
            **authentication,
        }
        (home / "work").mkdir()
        (home / "work/greeting.txt").write_text("hello from the sandbox\n")

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", f"source {SETUP} && {command}"],
            cwd=self.home / "work",
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        return output

    def submit(self, name: str, jobs: int = 1) -> int:
        """Submits with prun; returns the task's number."""
        command = "cat greeting.txt > out.dat; echo job $((6 * 7)) >> out.dat"
        options = f"--outDS {name} --outputs out.dat --nJobs {jobs} --noBuild --site TEST_SITE --vo wlcg"
        output = self.run(f"prun --exec '{command}' {options}")
        match = re.search(r"new jediTaskID=(\d+)", output)
        assert match, output
        return int(match[1])


def wait_for(front: Any, certificate: Path, task_id: int, status: str) -> None:
    """Asks for the task's state, over https, until it is the expected one."""
    command = ["curl", "--silent", "--cacert", str(front.authority.file), "--cert", str(certificate)]
    deadline = time.monotonic() + 30
    while True:
        url = f"{front.url}/api/v1/task/get_status?task_id={task_id}"
        output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
        if f'"data": "{status}"' in output:
            return
        assert time.monotonic() < deadline, output
        time.sleep(0.1)


@pytest.fixture
def oidc_client(front: Any, issuer: Any, tmp_path: Path) -> Client:
    token = {"PANDA_AUTH": "oidc", "PANDA_AUTH_VO": "wlcg", "PANDA_AUTH_ID_TOKEN": issuer.token()}
    return Client(front, tmp_path / "alice", **token)


@pytest.mark.parametrize("front", ["sqlite", "postgres"], indirect=True)
def test_prun_with_a_token_to_the_end(front: Any, oidc_client: Client, pilot: Any, authority: Any) -> None:
    task_id = oidc_client.submit("user.alice.first", jobs=2)
    for _ in range(2):
        pilot.run("TEST_SITE")
    assert pilot.outputs.count("hello from the sandbox\njob 42\n") == 2
    wait_for(front, authority.issue("alice", "alice"), task_id, "finished")
    shown = oidc_client.run(f"pbook show {task_id}")
    assert re.search(rf"{task_id} +{task_id} +finished +100% +user.alice.first/", shown), shown


def test_the_client_asks_who_it_is(front: Any, oidc_client: Client) -> None:
    ask = "from pandaclient import Client; print(Client.get_cert_attributes())"
    shown = oidc_client.run(f"python -c '{ask}'")
    assert "SSL_CLIENT_S_DN: Alice Smith/CN=nickname:alice\n" in shown, shown
    assert shown.endswith("(0, {})\n"), shown


def test_pbook_kills_and_tries_again(front: Any, oidc_client: Client, authority: Any) -> None:
    task_id = oidc_client.submit("user.alice.second")
    output = oidc_client.run(f"pbook kill {task_id}")
    assert f"Done, jediTaskID={task_id} will be killed" in output, output
    wait_for(front, authority.issue("alice", "alice"), task_id, "aborted")
    output = oidc_client.run(f"pbook retry {task_id} --site BIG_SITE")
    assert f"reactivation accepted. jediTaskID={task_id} (currently in aborted state)" in output, output


def test_prun_with_a_certificate_to_the_end(front: Any, tmp_path: Path, pilot: Any, authority: Any) -> None:
    certificate = authority.issue("alice", "alice", "706520", "Alice Smith")
    x509 = {"PANDA_AUTH": "x509_no_grid", "X509_USER_PROXY": str(certificate)}
    client = Client(front, tmp_path / "alice", **x509)
    task_id = client.submit("user.alice.third")
    pilot.run("TEST_SITE")
    wait_for(front, certificate, task_id, "finished")
