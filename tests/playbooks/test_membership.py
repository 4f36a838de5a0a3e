"""playbooks/onboard.yml and offboard.yml, the real ones, on roles that only note what they are asked to do.

Who is told of a node, in which order, and what an unreachable or failing host does to the others: no node is needed for
that. What the roles do is stated in tests/fleet.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
NODES = ["n1", "n2", "n3"]
BALANCERS = ["lb1", "lb2"]
NEWCOMERS = ["new1", "new2"]

# Notes a line for the host of its interpreter, and fails where it is told "host line".
NOTE = """#!/bin/sh
echo "$NODE" "$@" >>FOLDER/log
[ ! -e "FOLDER/fail/$NODE $*" ] || { echo "told to" >&2; exit 1; }
"""
# The services of every host run; what is done to them is noted.
SYSTEMCTL = """#!/bin/sh
case $1 in
    is-active) echo "$ACTIVE" ;;
    is-enabled) echo enabled ;;
    show) printf 'LoadState=loaded\\nActiveState=active\\n' ;;
    stop | disable) exec FOLDER/bin/note "$1" "$2" ;;
esac
"""
PYTHON = """#!/bin/sh
NODE=HOST ACTIVE=STATE PATH=FOLDER/bin:$PATH exec PYTHON "$@"
"""
MODULE = """
import subprocess
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={name: {"type": "raw"} for name in ("roles", "name", "state", "timeout")})
words = [str(module.params[name]) for name in ("state", "name") if module.params[name]]
if words:
    subprocess.run(["FOLDER/bin/note", *words], check=True)
module.exit_json(changed=False)
"""
TASKS = """
- name: Note it
  ansible.builtin.command: {argv: [note, WHAT]}
  changed_when: true
"""
UNDRAINED = """
- name: Know what it was
  ansible.builtin.set_fact:
    __panda_server_undrain: >-
      {{ {'changed': false, 'was': 'production', 'drained_by': '', 'in_service': true}
         | combine(undrain | default({})) }}
"""
ENTRANCES = {
    "panda_server": ["main", "drain", "undrain"],
    "squid": ["main", "peers"],
    "logrotate": ["main"],
    "load_balancer": ["nodes"],
}
UNREACHABLE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
PROVISIONED = ["main of panda_server", "main of squid", "main of logrotate", "burn-in"]
TOLD = "peers of squid"
UNITS = [
    "squid.service", "panda_daemon.service", "panda_httpd.service", "panda_wsgi.socket", "panda_wsgi.service",
    "panda.service",
]  # fmt: skip


@dataclass
class Played:
    """A playbook that has ended."""

    code: int
    output: str
    log: list[str]

    def done(self, *hosts: str) -> dict[str, list[str]]:
        """Host to what was done on it, in order."""
        return {
            host: [line.removeprefix(f"{host} ") for line in self.log if line.startswith(f"{host} ")] for host in hosts
        }

    def said(self, text: str) -> bool:
        return text in " ".join(self.output.split())


Play = Callable[..., Played]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """`play(playbook, option..., **host variables by host)`.

    fail=("host line", ...): what fails. out=(host, ...): who was taken out. runs={host: its release}.
    """

    def script(path: Path, text: str) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("FOLDER", str(tmp_path)))
        path.chmod(0o755)
        return str(path)

    script(tmp_path / "bin" / "note", NOTE)
    script(tmp_path / "bin" / "systemctl", SYSTEMCTL)
    shutil.copytree(ROOT / "playbooks", tmp_path / "playbooks")
    for name, what in (("burn_in", "burn-in"), ("left_to_others", "left to others")):
        (tmp_path / "playbooks" / "tasks" / f"{name}.yml").write_text(TASKS.replace("WHAT", what))
    for role, entrances in ENTRANCES.items():
        tasks = tmp_path / "roles" / role / "tasks"
        tasks.mkdir(parents=True)
        for entrance in entrances:
            text = TASKS.replace("WHAT", f"{entrance} of {role}") + (UNDRAINED if entrance == "undrain" else "")
            (tasks / f"{entrance}.yml").write_text(text)
    tasks = tmp_path / "roles" / "panda_server" / "tasks"
    shutil.copy(ROOT / "roles" / "panda_server" / "tasks" / "current.yml", tasks)
    (tasks / "wheelhouse.yml").write_text("- name: Find it\n  ansible.builtin.debug: {msg: found}\n")
    modules = tmp_path / "collections" / "ansible_collections" / "panda" / "provision" / "plugins" / "modules"
    for name in ("preflight", "balancer"):
        script(modules / f"{name}.py", MODULE)
    (tmp_path / "fail").mkdir()

    def run(
        playbook: str,
        *options: str,
        fail: tuple[str, ...] = (),
        out: tuple[str, ...] = (),
        runs: dict[str, dict[str, str]] | None = None,
        **variables: dict[str, object],
    ) -> Played:
        for line in fail:
            (tmp_path / "fail" / line).touch()
        for name, release in (runs or {}).items():
            (tmp_path / "prefix" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "prefix" / name / "release.json").write_text(json.dumps(release))

        def host(name: str) -> dict[str, object]:
            state = str(variables.get(name, {}).get("is_active", "active"))
            text = PYTHON.replace("PYTHON", sys.executable).replace("HOST", name).replace("STATE", state)
            python = script(tmp_path / "python" / name, text)
            local = {"ansible_connection": "local", "ansible_python_interpreter": python}
            return {**local, **variables.get(name, {})}

        groups = {"panda_servers": NODES + NEWCOMERS, "load_balancers": BALANCERS, "newcomers": NEWCOMERS}
        groups["panda_offboarded"] = list(out)
        inventory = {group: {"hosts": {name: host(name) for name in names}} for group, names in groups.items()}
        everywhere = {
            "panda_server_balancers": "{{ groups['load_balancers'] }}",
            "panda_server_drain_timeout": 1,
            "panda_server_cache_only": False,
            "panda_server_prefix": str(tmp_path / "prefix" / "{{ inventory_hostname }}"),
            "__panda_server_current": "1",
            "__panda_server_is_current": False,
            "__panda_server_release": "2",
            "__panda_server_release_payload": "bundled",
            "onboard_left": ["what is left to others"],
        }
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"vars": everywhere, "children": inventory}}))
        environment = surroundings(tmp_path, tmp_path / "collections")
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [program, "--inventory", tmp_path / "hosts.json", tmp_path / "playbooks" / playbook, *options],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        log = tmp_path / "log"
        return Played(done.returncode, done.stdout + done.stderr, log.read_text().splitlines() if log.exists() else [])

    return run


def test_several_newcomers_are_all_tried_before_anybody_is_told_of_one(play: Play) -> None:
    # Of another payload there is no release to have in common.
    played = play("onboard.yml", "-e", "node=newcomers", runs={"n1": {"name": "1.0.4", "payload": "panda-server"}})
    assert played.code == 0, played.output
    assert played.done(*NODES) == {name: [TOLD] for name in NODES}
    told = [line.partition(" ")[0] for line in played.log if line.endswith((TOLD, "nodes of load_balancer"))]
    assert set(told[: len(NODES)]) == set(NODES), "the caches first"
    assert played.log.index(f"{told[0]} {TOLD}") > max(played.log.index(f"{new} burn-in") for new in NEWCOMERS)
    for new in NEWCOMERS:
        assert played.said(f"{new} is provisioned, tried and in service")
        assert played.done(new)[new] == [*PROVISIONED, "left to others", "undrain of panda_server"]
        assert all(f"in {new}" in done for done in played.done(*BALANCERS).values())


def test_one_newcomer_that_fails_its_burn_in_keeps_all_of_them_out(play: Play) -> None:
    played = play("onboard.yml", "-e", "node=new1,new2", fail=("new2 burn-in",))
    assert played.code == 2, played.output
    assert not any(played.done(*NODES, *BALANCERS).values())


def test_hosts_that_cannot_be_told_are_named_and_keep_the_newcomer_from_nobody_else(play: Play) -> None:
    # All of the first batch cannot be reached, and one of the second fails.
    away = dict.fromkeys(["n1", "n2", "lb2"], UNREACHABLE)
    played = play("onboard.yml", "-e", "node=new1", fail=(f"n3 {TOLD}",), **away)
    assert played.code == 2, played.output
    assert played.done("new2") == {"new2": [TOLD]}
    assert played.done("lb1") == {"lb1": ["nodes of load_balancer", "in new1"]}
    assert played.said("new1: not all others know of it. n1: Task failed: Failed to connect to the host via ssh")
    assert played.said("lb2: Task failed: Failed to connect")
    assert played.said("n3: ")
    assert played.said("repeat this command")
    assert not played.said("new2: ")


def test_a_newcomer_that_something_holds_out_of_service_is_not_said_to_be_in(play: Play) -> None:
    drained = {"undrain": {"was": "draining", "drained_by": "drain", "in_service": False}}
    by_hand = {"undrain": {"was": "maintenance", "in_service": False}}
    played = play("onboard.yml", "-e", "node=newcomers", new1=drained, new2=by_hand)
    assert played.code == 2, played.output
    assert played.said("new1 is provisioned, tried and not in service")
    assert played.said("new1 stays out of service: drain holds it. Run playbooks/undrain.yml -l new1.")
    assert played.said("new2 stays out of service: its state is maintenance, set by hand.")
    assert not any(line.startswith("in ") for lines in played.done(*BALANCERS).values() for line in lines)


def test_a_newcomer_that_would_get_another_release_than_the_fleet_runs_is_refused(play: Play) -> None:
    runs = {"n1": {"name": "1"}, "n2": {"name": "2"}, "n3": {"name": "1"}}
    # A cache node serves nothing by its release, and has nothing against it.
    refused = play("onboard.yml", "-e", "node=newcomers", runs=runs, new2={"panda_server_cache_only": True})
    assert refused.code == 2, refused.output
    assert refused.log == []
    assert refused.said("new1 would get 2, and the fleet runs another release: n1 1, n3 1. Nothing was changed.")
    assert refused.said("-e panda_server_wheelhouse=<its archive>")
    assert not refused.said("new2 would get")
    meant = play("onboard.yml", "-e", "node=new1", "-e", "release_ahead=true")
    assert meant.code == 0, meant.output


def test_the_first_node_of_a_fleet_has_nobody_to_be_like(play: Play) -> None:
    played = play("onboard.yml", "-e", "node=new1", runs={"n1": {"name": "1"}}, out=(*NODES, "new2"))
    assert played.code == 0, played.output


# A host of another group too: the plays of all the others would have no host, and the run would end well.
@pytest.mark.parametrize(("playbook", "limit"), [("onboard.yml", "new1"), ("offboard.yml", "lb1")])
def test_a_limit_is_refused_with_the_command_to_type_instead(play: Play, playbook: str, limit: str) -> None:
    played = play(playbook, "-l", limit)
    assert played.code == 2, played.output
    assert played.said(f"ansible-playbook playbooks/{playbook} -e node={limit}")
    assert played.log == []


def test_what_could_not_be_done_is_said_and_the_rest_is_done(play: Play) -> None:
    played = play("offboard.yml", "-e", "node=n1,n2", n2=UNREACHABLE, n3=UNREACHABLE)
    assert played.code == 2, played.output
    assert played.done(*BALANCERS, *NEWCOMERS) == {
        **{name: ["nodes of load_balancer"] for name in BALANCERS},
        **{name: [TOLD] for name in NEWCOMERS},
    }
    first, *stopped = played.done("n1")["n1"]
    assert first == "drain of panda_server"
    assert stopped == [f"{verb} {unit}" for unit in UNITS for verb in ("disable", "stop")]
    assert played.log.index("n1 stop squid.service") > max(played.log.index(f"{new} {TOLD}") for new in NEWCOMERS)
    assert played.said("n2 could not be reached (Task failed: Failed to connect to the host via ssh")
    assert played.said("it was not drained, and its services were neither stopped nor disabled")
    assert played.said("n2 could not be reached, see above; if it is gone for good, add -e gone=true.")
    assert played.said("n3: Task failed: Failed to connect to the host via ssh")
    assert played.said("Those go on asking for it")


def test_a_node_whose_httpd_is_reloading_is_drained_too(play: Play) -> None:
    # systemd says so of a unit that serves all the while.
    played = play("offboard.yml", "-e", "node=n1", n1={"is_active": "reloading"})
    assert played.code == 0, played.output
    assert played.done("n1")["n1"][0] == "drain of panda_server"


def test_a_host_that_is_gone_for_good_is_forgotten(play: Play) -> None:
    played = play("offboard.yml", "-e", "node=n1", "-e", "gone=true", n1=UNREACHABLE)
    assert played.code == 0, played.output
    assert played.done("n2", "n3") == {"n2": [TOLD], "n3": [TOLD]}
    assert played.said("it was not drained, and its services were neither stopped nor disabled")


def test_one_node_that_cannot_be_drained_keeps_all_of_them_in(play: Play) -> None:
    played = play("offboard.yml", "-e", "node=n1,n2", fail=("n2 drain of panda_server",))
    assert played.code == 2, played.output
    assert not any(played.done("n3", *NEWCOMERS, *BALANCERS).values())
    assert played.done("n1") == {"n1": ["drain of panda_server"]}


@pytest.mark.parametrize("playbook", ["upgrade", "rollback", "certificates", "drain", "undrain"])
def test_a_node_that_was_taken_out_is_left_alone(playbook: str, tmp_path: Path) -> None:
    groups = {"panda_servers": ["n1", "n2"], "panda_offboarded": ["n2"]}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({group: {"hosts": dict.fromkeys(hosts)} for group, hosts in groups.items()}))
    listed = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", inventory, "--list-hosts",
         ROOT / "playbooks" / f"{playbook}.yml"],
        env={**surroundings(tmp_path, ROOT / "collections"), "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    hosts = re.findall(r"hosts \(\d+\):((?:\n +\S+)*)", listed.stdout)
    assert {" ".join(found.split()) for found in hosts} == {"n1"}


def test_nodes_that_were_taken_out_are_not_what_stays_in_service_when_all_others_are_drained(play: Play) -> None:
    played = play("drain.yml", "-l", "n1,n2", out=("n3", *NEWCOMERS))
    assert played.code == 2, played.output
    assert played.said("This would take every node out of service")
    assert played.log == []
