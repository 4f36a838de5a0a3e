"""What the statements about a fleet are made with: playbooks that are run as an operator runs them, and clients."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse

from tests.node.conftest import eventually, look_until

from .load import Load

__all__ = ["eventually"]

ROOT = Path(__file__).resolve().parents[2]
NETWORK = "panda-fleet"
SERVICE = "pandaserver.cern.ch"
BALANCER = "atlas-pandalb-01"
DATABASE = "atlas-pandadb-01"
NODES = ["atlas-pandaserver-01", "atlas-pandaserver-02", "atlas-pandaserver-03"]
NEWCOMER = "atlas-pandaserver-04"
BACKENDS = ("panda_http", "panda_https", "panda_cache")
PLAYBOOK_SECONDS = 600
SETTLED_SECONDS = 120
SURROUNDINGS = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_INJECT_FACT_VARS": "false",
    # Where molecule has colours, it forces them on Ansible too, and what is read here is text.
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_NOCOLOR": "true",
}
# What of a node is still on its way after a boot, a restart or a reload; /node/ready knows of the application alone.
UNSETTLED = """
for unit in panda panda_httpd panda_wsgi panda_daemon squid firewalld logrotate.timer; do
    systemctl is-active --quiet $unit || echo $unit
done
systemctl list-jobs | grep --quiet 'No jobs' || echo 'jobs of systemd'
curl --silent --output /dev/null http://127.0.0.1:25085/ || echo 'port of squid'
curl --silent --fail --output /dev/null http://127.0.0.1:25080/node/ready || echo /node/ready
"""


@dataclass
class Run:
    """A playbook that has ended."""

    code: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Host to what the last lines say of it: ok, changed, unreachable, failed, skipped, rescued, ignored."""
        lines = re.findall(r"^(\S+)\s+: (ok=.*)$", self.output, re.MULTILINE)
        return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)} for host, rest in lines}

    @property
    def changed(self) -> dict[str, int]:
        """Host to the number of tasks that changed it."""
        return {host: counts["changed"] for host, counts in self.recap.items()}

    def said(self, text: str) -> bool:
        """Whether the output has this text, wherever its lines were broken."""
        return " ".join(text.split()) in " ".join(self.output.split())


@dataclass
class Moment:
    """Something that happens as soon as a task has been done on a host."""

    task: str
    """A part of the task's name."""
    host: str
    happen: Callable[[subprocess.Popen[str]], None]
    """Gets the process of the run."""


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9 of the control machine's processes."""
    os.killpg(process.pid, signal.SIGKILL)


class Fleet:
    """A scenario's hosts."""

    def __init__(self, inventory: str, scenario: str = "fleet") -> None:
        self.inventory = [inventory]
        self.addresses = {
            host: values["ansible_host"] for host, values in self._inventory()["_meta"]["hostvars"].items()
        }
        self.authority = ROOT / ".cache" / "molecule" / scenario / "ca.pem"

    def _inventory(self) -> Any:
        command = ["ansible-inventory", *self._inventory_options(), "--list"]
        return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)

    def _inventory_options(self) -> list[str]:
        return [f"--inventory={path}" for path in self.inventory]

    def _popen(self, playbook: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["ansible-playbook", *self._inventory_options(), playbook, *arguments],
            cwd=ROOT,
            env={**os.environ, **SURROUNDINGS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self, playbook: str, *arguments: str, expect: int | None = 0, moment: Moment | None = None) -> Run:
        """Run a playbook to its end, which has to come with this exit code (None: any)."""
        began = time.monotonic()
        process = self._popen(playbook, *arguments)
        assert process.stdout is not None
        timer = threading.Timer(PLAYBOOK_SECONDS, process.kill)
        # A session that is broken off does not wait for it.
        timer.daemon = True
        timer.start()
        task, lines = "", []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("TASK ["):
                task = line
            if moment and moment.task in task and re.match(rf"(ok|changed|fatal): \[{moment.host}[\] ]", line):
                moment.happen(process)
                moment = None
        code = process.wait()
        timer.cancel()
        run = Run(code, "".join(lines), time.monotonic() - began)
        assert moment is None, f"the run ended before '{moment.task}' on {moment.host}:\n{run.output}"
        assert expect is None or code == expect, run.output
        return run

    def load(self, name: str = BALANCER, **what: Any) -> Load:
        """Clients that ask the balancer, or another host, for as long as the `with` lasts."""
        return Load(self.addresses[name], SERVICE, self.authority, **what)

    def host(self, name: str) -> Any:
        """A host from inside, over the inventory's ssh."""
        return testinfra.get_host(f"ansible://{name}?ansible_inventory={self.inventory[0]}")

    def command(self, name: str, command: str) -> str:
        """What a command, which has to succeed, prints on a host."""
        return str(self.host(name).check_output(command))

    def get(self, name: str, path: str, port: int = 25080) -> tuple[int, str]:
        """Status and body of an answer; 0 and why, where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.addresses[name]}:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def releases(self, *names: str) -> dict[str, str]:
        """Host to the release that really runs there."""
        found = {}
        for name in names or NODES:
            status, body = self.get(name, "/node/live")
            found[name] = json.loads(body)["release"] if status == 200 else f"{status}: {body}"
        return found

    def ready(self, *names: str) -> dict[str, bool]:
        """Host to whether it is in service."""
        return {name: self.get(name, "/node/ready")[0] == 200 for name in names or NODES}

    def servers(self) -> dict[str, dict[str, dict[str, str]]]:
        """Backend to node to what haproxy counts of it."""
        text = self.command(BALANCER, "curl -s 'http://127.0.0.1:8404/;csv'")
        found: dict[str, dict[str, dict[str, str]]] = {}
        for row in csv.DictReader(text.lstrip("# ").splitlines()):
            if row["pxname"] in BACKENDS and row["svname"] != "BACKEND":
                found.setdefault(row["pxname"], {})[row["svname"]] = row
        return found

    def unsettled(self) -> dict[str, list[str]]:
        """Host to what is not yet as a fleet that serves has it."""

        def of_node(name: str) -> list[str]:
            try:
                return str(self.host(name).run(UNSETTLED).stdout).splitlines()
            except RuntimeError as error:  # ssh could not connect
                return [str(error)]

        with ThreadPoolExecutor() as pool:
            found = dict(zip(NODES, pool.map(of_node, NODES), strict=True))
        found[BALANCER] = [
            f"{backend}/{name}: {server['status']}"
            for backend, servers in self.servers().items()
            for name, server in servers.items()
            if server["status"] != "UP"
        ]
        return {name: left for name, left in found.items() if left}

    def record(self, name: str) -> Any:
        """What a node knows of its releases."""
        return json.loads(self.command(name, "cat /opt/panda.releases/releases.json"))

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """A host that is switched off for as long as the `with` lasts."""
        self.switch_off(name)
        try:
            yield
        finally:
            self.switch_on(name)

    def switch_off(self, name: str) -> None:
        """Take a host's power away."""
        subprocess.run(["docker", "kill", f"{NETWORK}.{name}"], check=True, capture_output=True)

    def switch_on(self, name: str) -> None:
        """Give it back."""
        subprocess.run(["docker", "start", f"{NETWORK}.{name}"], check=True, capture_output=True)


@dataclass(frozen=True)
class Releases:
    """Archives of releases that differ from this checkout's: `panda_server_wheelhouse` takes one."""

    following: wheelhouse.Wheelhouse
    """Good."""
    bad: wheelhouse.Wheelhouse
    """Passes everything that is tried beforehand; on the second node it then says that it is not alive."""
    unseen: wheelhouse.Wheelhouse
    """Good, and on no node."""


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """The scenario's hosts."""
    return Fleet(request.config.getoption("--ansible-inventory"))


@pytest.fixture(scope="module", autouse=True)
def _settled(fleet: Fleet) -> None:
    """Every file begins with a fleet that serves, whatever the one before did to it last."""
    look_until(fleet.unsettled, {}, within=SETTLED_SECONDS)


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """The next release, and a bad one."""
    folder = tmp_path_factory.mktemp("releases")
    bad = (
        "web/legacy.py",
        '"alive=yes"',
        f'"alive=no" if __import__("socket").gethostname() == "{NODES[1]}" else "alive=yes"',
    )
    return Releases(
        following=make_release(folder, "9.0.0"),
        bad=make_release(folder, "9.1.0", bad),
        unseen=make_release(folder, "9.2.0"),
    )


def make_release(folder: Path, version: str, change: tuple[str, str, str] | None = None) -> wheelhouse.Wheelhouse:
    """Build a release of this checkout's application under another version, with one text in one file replaced."""
    app = folder / version
    shutil.copytree(ROOT / "app", app, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    replace(app / "pyproject.toml", 'version = "0.1.0"', f'version = "{version}"')
    if change:
        replace(app / "src" / "panda_node" / change[0], *change[1:])
    return wheelhouse.build(app, ROOT / ".cache" / "wheelhouse")


def replace(path: Path, old: str, new: str) -> None:
    """Replace a text that has to be there."""
    text = path.read_text()
    assert old in text, f"{path} has no {old}"
    path.write_text(text.replace(old, new))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a measured figure where whoever runs the tests sees it."""

    def to_terminal(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", flush=True)

    return to_terminal


def pytest_sessionstart() -> None:
    """ansible-playbook and the others stand beside this Python, whether its environment is active or not."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
