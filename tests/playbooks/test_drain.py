"""playbooks/drain.yml and undrain.yml, the real ones with the real entrances of the role, on hosts that are folders.

A balancer here has in what says production, as haproxy has in what is ready. What haproxy itself says is stated in
tests/fleet.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
NODES = ["n1", "n2", "n3"]
BALANCERS = ["lb1", "lb2"]

PYTHON = """#!/bin/sh
FOLDER=FOLDER_OF/HOST exec PYTHON "$@"
"""
# A node that is not in the balancer's own list is dead: it never gets requests.
REPORT = """
import json, os, pathlib
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={}, supports_check_mode=True)
own = pathlib.Path(os.environ["FOLDER"])
up = {name: (own.parent / name / "node_state").read_text() == "production\\n" for name in ["n1", "n2", "n3"]}
dead = json.loads((own / "dead").read_text())
nodes = {name: {"panda_http": "UP" if up[name] and name not in dead else "DOWN"} for name in up}
module.exit_json(changed=False, nodes=nodes, trouble="")
"""
WAIT = """
import os, pathlib
from ansible.module_utils.basic import AnsibleModule
names = ("name", "state", "idle", "timeout", "url")
module = AnsibleModule(argument_spec={name: {"type": "raw"} for name in names}, supports_check_mode=True)
with (pathlib.Path(os.environ["FOLDER"]) / "waited").open("a") as log:
    print(module.params["state"], module.params["name"], file=log)
module.exit_json(changed=False)
"""
STAY = """
- name: Stay
  hosts: panda_servers
  gather_facts: false
  tasks:
    - name: Drain, or stay
      ansible.builtin.import_role: {name: panda_server, tasks_from: drain.yml}
      vars: {__panda_server_drain_by: [upgrade], __panda_server_drain_last: stay}
"""


class Fleet:
    """Three nodes behind two balancers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for host in NODES + BALANCERS:
            self._script(folder / "python" / host, PYTHON.replace("HOST", host).replace("PYTHON", sys.executable))
            (folder / host).mkdir()
        for node in NODES:
            self.write(node, "production")
        for balancer in BALANCERS:
            self.dead(balancer)
        plugins = folder / "collections" / "ansible_collections" / "panda" / "provision" / "plugins"
        modules = plugins / "modules"
        shutil.copytree(ROOT / "plugins" / "module_utils", plugins / "module_utils")
        own = (ROOT / "plugins" / "modules" / "node_state.py").read_text()
        assert own.count('"default": "/etc/panda/') == 2
        own = own.replace('"default": "/etc/panda/', '"default": os.environ["FOLDER"] + "/')
        for name, text in (("node_state", own), ("balancer_report", REPORT), ("balancer", WAIT), ("idle", WAIT)):
            self._script(modules / f"{name}.py", text)
        (folder / "stay.yml").write_text(STAY)

    def _script(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("FOLDER_OF", str(self.folder)))
        path.chmod(0o755)

    def write(self, node: str, state: str) -> None:
        (self.folder / node / "node_state").write_text(f"{state}\n")

    def dead(self, balancer: str, *nodes: str) -> None:
        (self.folder / balancer / "dead").write_text(json.dumps(nodes))

    @property
    def states(self) -> list[str]:
        return [(self.folder / node / "node_state").read_text().strip() for node in NODES]

    def nologin(self, node: str) -> bool:
        return (self.folder / node / "iss.nologin").exists()

    def waited(self, balancer: str) -> list[str]:
        log = self.folder / balancer / "waited"
        return log.read_text().splitlines() if log.exists() else []

    def play(self, playbook: Path, *options: str, expect: int = 0, balancers: list[str] = BALANCERS) -> str:
        """Run a playbook; what it printed, with its lines joined."""
        hosts = {
            host: {"ansible_connection": "local", "ansible_python_interpreter": str(self.folder / "python" / host)}
            for host in NODES + BALANCERS
        }
        everywhere = {
            "panda_server_balancers": balancers,
            "panda_server_port": 1,
            "panda_server_drain_timeout": 1,
            "panda_server_drain_wait": 0,
            "panda_server_drain_files": [str(self.folder / "{{ inventory_hostname }}" / "iss.nologin")],
        }
        groups = {"panda_servers": NODES, "load_balancers": BALANCERS}
        children = {group: {"hosts": {name: hosts[name] for name in names}} for group, names in groups.items()}
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"all": {"vars": everywhere, "children": children}}))
        around = surroundings(self.folder, self.folder / "collections")
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "--inventory", inventory, playbook, *options],
            env={**around, "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == expect, done.stdout + done.stderr
        return " ".join(done.stdout.split())


DRAIN, UNDRAIN = (ROOT / "playbooks" / f"{name}.yml" for name in ("drain", "undrain"))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_nodes_drained_one_after_another_leave_the_last_one_in_unless_that_is_meant(fleet: Fleet) -> None:
    fleet.play(DRAIN, "-l", "n1")
    fleet.play(DRAIN, "-l", "n2")
    refused = fleet.play(DRAIN, "-l", "n3", expect=2)
    assert "n3 was not drained: lb1, lb2 has no other node to send requests to" in refused
    assert "playbooks/drain.yml -l n3 -e whole_fleet=true" in refused
    assert fleet.states == ["draining", "draining", "production"]
    # One that is out already takes nothing away.
    fleet.play(DRAIN, "-l", "n2")
    fleet.play(DRAIN, "-l", "n3", "-e", "whole_fleet=true")
    assert fleet.states == ["draining"] * 3


def test_nodes_drained_together_are_not_what_stays_in_service(fleet: Fleet) -> None:
    fleet.write("n3", "maintenance")
    refused = fleet.play(DRAIN, "-l", "n1,n2", expect=2)
    assert "n1 was not drained" in refused
    assert "n2 was not drained" in refused
    assert fleet.states == ["production", "production", "maintenance"]


def test_one_balancer_that_has_no_other_node_is_enough(fleet: Fleet) -> None:
    fleet.dead("lb2", "n2", "n3")
    assert "n1 was not drained: lb2 has no other node" in fleet.play(DRAIN, "-l", "n1", expect=2)
    fleet.play(DRAIN, "-l", "n2")
    assert fleet.states == ["production", "draining", "production"]


def test_a_roll_leaves_the_last_node_in_service_and_drains_any_other(fleet: Fleet) -> None:
    stay = fleet.folder / "stay.yml"
    fleet.play(stay, "-l", "n1")
    fleet.play(stay, "-l", "n2,n3")
    assert fleet.states == ["draining", "production", "production"]
    assert not fleet.nologin("n2")
    fleet.play(stay, "-l", "n2", balancers=[])
    assert fleet.states == ["draining", "draining", "production"]


def test_check_mode_asks_and_refuses_and_drains_nothing(fleet: Fleet) -> None:
    fleet.play(DRAIN, "-l", "n1", "--check")
    fleet.dead("lb1", "n2", "n3")
    assert "n1 was not drained" in fleet.play(DRAIN, "-l", "n1", "--check", expect=2)
    assert fleet.states == ["production"] * 3


def test_a_node_in_maintenance_is_brought_back_by_nothing(fleet: Fleet) -> None:
    fleet.play(DRAIN, "-l", "n1")
    fleet.write("n1", "maintenance")
    refused = fleet.play(UNDRAIN, "-l", "n1", expect=2)
    assert "n1 stays out of service: its state is maintenance, set by hand. To bring it back, write" in refused
    assert fleet.nologin("n1")
    assert "in n1" not in fleet.waited("lb1")

    fleet.write("n1", "production")
    fleet.play(UNDRAIN, "-l", "n1")
    assert not fleet.nologin("n1")
    # Whoever repeats it wants to know whether it is in.
    fleet.play(UNDRAIN, "-l", "n1")
    assert fleet.waited("lb1").count("in n1") == 2


def test_a_node_that_something_else_holds_stays_out_with_the_remedy(fleet: Fleet) -> None:
    fleet.play(fleet.folder / "stay.yml", "-l", "n1")
    refused = fleet.play(UNDRAIN, "-l", "n1", expect=2)
    assert "n1 stays out of service: upgrade holds it. Repeat playbooks/upgrade.yml" in refused
    assert "playbooks/undrain.yml -l n1 -e drained_by=upgrade" in refused
    fleet.play(UNDRAIN, "-l", "n1", "-e", "drained_by=upgrade")
    assert fleet.states == ["production"] * 3
