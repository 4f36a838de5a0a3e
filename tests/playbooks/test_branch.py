"""A git branch as the payload: upgrade.yml asks what it has now, and a node in service does without it in site.yml."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
BRANCH = "panda-server[postgres] @ git+http://127.0.0.1:1/panda-server.git@master"
# What site.yml does with a release, without what it does besides on a node.
SITE = """
- name: As the role does
  hosts: all
  gather_facts: false
  tasks:
    - name: Find it
      ansible.builtin.import_role: {name: panda_server, tasks_from: wheelhouse.yml}
    - name: Install it
      ansible.builtin.import_role: {name: panda_server, tasks_from: release.yml}
    - name: Start
      ansible.builtin.import_role: {name: panda_server, tasks_from: service.yml}
"""
NOTHING = "- name: Nothing\n  ansible.builtin.debug: {msg: nothing}\n"


def node(current: str) -> dict[str, Any]:
    """What preflight sees of a node that runs a release, or none."""
    running = {"load": "loaded", "enabled": "enabled", "active": "active"}
    units = ["panda.service", "panda_httpd.service", "panda_wsgi.socket", "panda_wsgi.service", "panda_daemon.service"]
    marker = json.dumps({"name": current, "payload": "panda-server"})
    record = {"good": [current], "last_good": current, "bad": {}}
    return {
        "links": {"/opt/panda": f"panda.releases/{current}"} if current else {},
        "texts": {f"/opt/panda.releases/{current}/release.json": marker} if current else {},
        "records": {"/opt/panda.releases/releases.json": record if current else None},
        "units": dict.fromkeys(units, running),
        "globs": {"/etc/grid-security/certificates/*.0": []},
    }


def play(folder: Path, playbook: Path, roles: Path, **nodes: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook, whose nodes run these releases."""
    instead = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "panda_server_payload": "panda-server",
        "panda_server_payload_requirement": BRANCH,
        "__panda_server_unit_files": {"changed": False, "changed_paths": []},
    }
    hosts = {name: {"seen": node(current)} for name, current in nodes.items()}
    group = {"hosts": hosts, "vars": {"panda_preflight": {"node": "{{ seen }}"}}}
    (folder / "hosts.json").write_text(json.dumps({"panda_servers": group}))
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", folder / "hosts.json",
         "--extra-vars", json.dumps(instead), playbook],
        env={**surroundings(folder, ROOT / "collections"), "ANSIBLE_ROLES_PATH": str(roles)},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_node_in_service_needs_no_repository_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(SITE)
    done = play(tmp_path, tmp_path / "site.yml", ROOT / "roles", n1="1.0-of-an-older-commit")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout


def test_a_node_that_is_to_get_a_release_does(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(SITE)
    done = play(tmp_path, tmp_path / "site.yml", ROOT / "roles", n1="")
    assert done.returncode != 0
    assert "127.0.0.1:1/panda-server.git: does not say where master is" in done.stdout


def test_an_upgrade_asks_what_the_branch_has_now(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "playbooks", tmp_path / "playbooks")
    role = tmp_path / "roles" / "panda_server"
    for name in ("defaults", "vars", "tasks"):
        shutil.copytree(ROOT / "roles" / "panda_server" / name, role / name)
    for name in ("preflight", "release", "try"):
        (role / "tasks" / f"{name}.yml").write_text(NOTHING)
    done = play(tmp_path, tmp_path / "playbooks" / "upgrade.yml", tmp_path / "roles", n1="1.0-of-an-older-commit")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "127.0.0.1:1/panda-server.git: does not say where master is" in said
    assert "name a commit, with all its 40 digits, in place of master" in said
    assert "Upgrade the node" not in done.stdout
