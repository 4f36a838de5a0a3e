"""playbooks/tasks/roll.yml, the real one, on a role that only notes what it is asked to do, and fails where it is told.

Host k is failed on purpose at each stage, and the end of every host is looked at. No node is needed for that, so it can
be tried with every batch size, and with each ansible-core that is at hand.
"""

from __future__ import annotations

import glob
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
# The series that needs a newer Python than the default one of this repository.
NEXT_CORE = "2.21.5"
HOSTS = ["n1", "n2", "n3", "n4"]
ENTRANCES = ["drain", "switch", "gate", "verify", "record", "undrain"]
UPGRADED = ["drain new", "switch new", "gate new", "record new", "undrain new"]
BACK = ["switch old", "verify old", "undrain old"]

# Notes "stage release" for a host, and fails once where it is told "host stage release".
NOTE = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$2 $3" >>"log/$1"
[ ! -e "fail/$1 $2 $3" ] || { rm "fail/$1 $2 $3"; echo "told to" >&2; exit 1; }
"""
VARS = """
__panda_server_current: "{{ current | default('old') }}"
__panda_server_record: {good: [old], last_good: "{{ last_good | default('old') }}", bad: {}}
__panda_server_node: {records: {/etc/panda/drain.json: "{{ drained | default(none) }}"}}
__panda_server_drain_record: /etc/panda/drain.json
__panda_server_only_node_of: "{{ only_node_of | default([]) }}"
__panda_server_undrain: {in_service: "{{ in_service | default(true) }}"}
panda_server_releases: "{{ folder }}/releases/{{ inventory_hostname }}"
"""
# Under --check too, for what verifies and waits would really ask.
TASKS = """
- name: Note it
  ansible.builtin.command:
    argv: ["{{ folder }}/note", "{{ inventory_hostname }}", STAGE, "{{ __panda_server_release }}"]
  changed_when: true
  check_mode: false
"""
# Balancers are asked one after another.
ASKING = TASKS + "  loop: [lb1]\n"
PLAYBOOK = """
- name: Prepare
  hosts: all
  gather_facts: false
  tasks:
    - name: Know the node
      ansible.builtin.import_role: {name: panda_server, tasks_from: know.yml}
- name: Roll
  hosts: all
  gather_facts: false
  serial: [1, "{{ serial }}"]
  vars: {roll_verb: upgrade, roll_release: new, roll_from: ""}
  tasks:
    - name: Roll
      ansible.builtin.import_tasks: ROOT/playbooks/tasks/roll.yml
- name: End
  hosts: all
  gather_facts: false
  tasks:
    - name: End
      ansible.builtin.import_tasks: ROOT/playbooks/tasks/roll_summary.yml
"""


@dataclass
class Rolled:
    """A roll that has ended."""

    code: int
    output: str
    done: dict[str, list[str]]
    """Host to what was done on it."""
    bad: dict[str, list[str]]
    """Host to the releases that it knows as bad."""

    def said(self, text: str) -> bool:
        return text in " ".join(self.output.split())


Roll = Callable[..., Rolled]


def newer_python() -> str | None:
    """A Python 3.12 or newer that runs."""
    names = [f"python3.{minor}" for minor in (14, 13, 12)]
    places = [shutil.which(name) for name in names]
    places += [path for name in names for path in glob.glob(str(Path.home() / f".pyenv/versions/*/bin/{name}"))]
    for place in filter(None, places):
        if subprocess.run([place, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0:
            return place
    return None


@pytest.fixture(scope="session")
def next_core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ansible-playbook of the next series."""
    python = newer_python()
    if python is None:
        pytest.skip(f"no Python 3.12 or newer here, which ansible-core {NEXT_CORE} needs")
    folder = tmp_path_factory.mktemp("core")
    subprocess.run([python, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"ansible-core=={NEXT_CORE}"], check=True)
    return folder / "bin" / "ansible-playbook"


@pytest.fixture
def roll(request: pytest.FixtureRequest, tmp_path: Path) -> Roll:
    """`roll(serial, "host stage release" to fail at, ..., **host variables by host)`, with this environment's core.

    Where the fixture's parameter is "next", with that of the next series.
    """
    program = Path(sys.executable).with_name("ansible-playbook")
    if getattr(request, "param", "") == "next":
        program = request.getfixturevalue("next_core")
    role = tmp_path / "roles" / "panda_server"
    (role / "tasks").mkdir(parents=True)
    (role / "vars").mkdir()
    (role / "vars" / "main.yml").write_text(VARS)
    (role / "tasks" / "know.yml").write_text("- name: Know\n  ansible.builtin.debug: {msg: known}\n")
    for stage in ENTRANCES:
        text = ASKING if stage in ("drain", "undrain") else TASKS
        (role / "tasks" / f"{stage}.yml").write_text(text.replace("STAGE", stage))
    for name in ("log", "fail"):
        (tmp_path / name).mkdir()
    note = tmp_path / "note"
    note.write_text(NOTE)
    note.chmod(0o755)
    (tmp_path / "play.yml").write_text(PLAYBOOK.replace("ROOT", str(ROOT)))

    def run(serial: int, *fail: str, check: bool = False, **variables: dict[str, object]) -> Rolled:
        for line in fail:
            (tmp_path / "fail" / line).touch()
        hosts = {host: variables.get(host, {}) for host in HOSTS}
        everywhere = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "folder": str(tmp_path),
        }
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": everywhere}}))
        environment = surroundings(tmp_path, ROOT / "collections")
        done = subprocess.run(
            [program, "--inventory", inventory, "--extra-vars", f"serial={serial}", tmp_path / "play.yml",
             *(["--check"] if check else [])],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        notes = {host: tmp_path / "log" / host for host in HOSTS}
        records = {host: tmp_path / "releases" / host / "releases.json" for host in HOSTS}
        return Rolled(
            done.returncode,
            done.stdout + done.stderr,
            {host: path.read_text().splitlines() if path.exists() else [] for host, path in notes.items()},
            {
                host: list(json.loads(path.read_text())["bad"]) if path.exists() else []
                for host, path in records.items()
            },
        )

    return run


either_core = pytest.mark.parametrize("roll", ["here", "next"], indirect=True)
# The drain is the first stage, so its failure is the one that takes nothing back.
STAGES = [(1, "drain"), (1, "switch"), (1, "record"), (2, "drain"), (2, "record")]


@pytest.mark.parametrize("serial", [1, 2])
def test_every_node_is_drained_switched_tried_and_brought_back(roll: Roll, serial: int) -> None:
    rolled = roll(serial)
    assert rolled.code == 0, rolled.output
    assert rolled.done == dict.fromkeys(HOSTS, UPGRADED)
    assert rolled.bad == {host: [] for host in HOSTS}


@either_core
@pytest.mark.parametrize("serial", [1, 2])
def test_a_node_whose_gate_fails_goes_back_and_the_next_batch_stays_untouched(roll: Roll, serial: int) -> None:
    halted_at_the_second_node(roll, serial, "gate")


@pytest.mark.parametrize(("serial", "stage"), STAGES)
def test_the_same_where_another_stage_fails(roll: Roll, serial: int, stage: str) -> None:
    halted_at_the_second_node(roll, serial, stage)


def halted_at_the_second_node(roll: Roll, serial: int, stage: str) -> None:
    """Fail a stage on n2, and look at the end of every host."""
    rolled = roll(serial, f"n2 {stage} new")
    assert rolled.code != 0, rolled.output
    assert rolled.done["n1"] == UPGRADED
    reached = UPGRADED[: UPGRADED.index(f"{stage} new") + 1]
    back = ["undrain new"] if stage == "drain" else BACK
    assert rolled.done["n2"] == reached + [line.replace("undrain old", "undrain new") for line in back]
    # In the batch of two, its neighbour is healthy and ends what it began.
    assert rolled.done["n3"] == (UPGRADED if serial == 2 else [])
    assert rolled.done["n4"] == []
    # Only its gate says something of the release.
    assert rolled.bad["n2"] == (["new"] if stage == "gate" else [])
    assert rolled.bad["n1"] == rolled.bad["n3"] == rolled.bad["n4"] == []
    assert rolled.said("The upgrade to new failed on n2, which is back in service on old"), rolled.output
    if serial == 2:
        assert rolled.said("n4 was not touched, because the upgrade failed on n2"), rolled.output


@pytest.mark.parametrize("serial", [1, 2])
def test_a_balancer_that_does_not_have_the_node_in_again_condemns_no_release(roll: Roll, serial: int) -> None:
    rolled = roll(serial, "n2 undrain new")
    assert rolled.code != 0, rolled.output
    assert rolled.done["n2"] == UPGRADED
    assert rolled.done["n4"] == []
    assert rolled.bad["n2"] == []
    assert rolled.said("n2 runs new, which has passed its gate, and is not back in service: Note it: lb1:")
    assert rolled.said("playbooks/undrain.yml -l n2 -e drained_by=upgrade brings it back")


def test_a_node_that_somebody_holds_out_of_service_is_not_said_to_be_back(roll: Roll) -> None:
    rolled = roll(1, "n1 gate new", n1={"in_service": False})
    assert rolled.said("The upgrade to new failed on n1, which is out of service as before on old"), rolled.output


def test_a_node_that_a_balancer_has_no_other_than_is_said_to_stay_in_service(roll: Roll) -> None:
    rolled = roll(1, n2={"only_node_of": ["lb1"]})
    assert rolled.code == 0, rolled.output
    assert rolled.said("n2 is not drained: lb1 has no other node to send requests to")
    assert not rolled.said("n1 is not drained")


def test_check_mode_says_what_would_be_done_and_does_none_of_it(roll: Roll) -> None:
    rolled = roll(1, check=True, n1={"current": "new", "last_good": "new"})
    assert rolled.code == 0, rolled.output
    assert rolled.done == {"n1": ["verify new"], "n2": [], "n3": [], "n4": []}
    assert rolled.said("n2 would be drained, taken from old to new, tried, and brought back")
    assert not rolled.said("n1 would be drained")


def test_a_node_that_cannot_go_back_either_stays_out_of_service(roll: Roll) -> None:
    rolled = roll(2, "n2 gate new", "n2 verify old")
    assert rolled.code != 0
    assert rolled.done["n2"] == [*UPGRADED[:3], "switch old", "verify old"]
    assert rolled.done["n4"] == []


def test_a_node_with_nothing_to_go_back_to_stays_out_of_service_and_is_named(roll: Roll) -> None:
    rolled = roll(1, "n1 gate new", n1={"last_good": None})
    assert rolled.code != 0
    assert rolled.done == {"n1": UPGRADED[:3], "n2": [], "n3": [], "n4": []}
    assert rolled.said("n1 is out of service: Note it:"), rolled.output
    assert rolled.said("It has no other release that ever passed its gate"), rolled.output


def test_a_node_that_is_there_and_healthy_is_passed_over(roll: Roll) -> None:
    rolled = roll(1, n1={"current": "new", "last_good": "new"})
    assert rolled.code == 0, rolled.output
    assert rolled.done["n1"] == ["verify new"]
    assert rolled.done["n2"] == UPGRADED


def test_a_node_that_is_there_and_not_healthy_is_done_again(roll: Roll) -> None:
    rolled = roll(1, "n1 verify new", n1={"current": "new", "last_good": "new"})
    assert rolled.code == 0, rolled.output
    assert rolled.done["n1"] == ["verify new", *UPGRADED]


@pytest.mark.parametrize("left", [{"last_good": "old"}, {"last_good": "new", "drained": {"by": "upgrade"}}])
def test_a_node_on_which_a_run_was_interrupted_is_finished(roll: Roll, left: dict[str, object]) -> None:
    rolled = roll(1, n1={"current": "new", **left})
    assert rolled.code == 0, rolled.output
    assert rolled.done["n1"] == UPGRADED
