"""roles/panda_server/tasks/service.yml, the real one: a parent that does not start says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- name: Start
  hosts: n1
  gather_facts: false
  tasks:
    - name: Start
      ansible.builtin.import_role: {name: panda_server, tasks_from: service.yml}
"""
SYSTEMCTL = """#!/bin/sh
case "$*" in
    *show*) printf 'LoadState=loaded\\nActiveState=inactive\\n' ;;
    *start*) echo 'Job for panda.service failed; see systemctl status' >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (
            "echo 'DB schema check: password refused' >&2; exit 2",
            ["n1: panda.service does not start.", "DB schema check: password refused", "Correct panda_server_db*"],
        ),
        # The node goes on trying, as the database may only be away; who mistyped its name is told all the same.
        (
            "echo 'DB schema check: db/pnada: unreachable: database pnada does not exist' >&2; exit 4",
            ["n1: panda.service does not start.", "database pnada does not exist", "Correct panda_server_db*"],
        ),
        ("echo 'DB schema check: OK'", ["DB schema check: OK", "journalctl -u panda.service"]),
    ],
)
def test_a_run_whose_parent_does_not_start_ends_with_the_reason(tmp_path: Path, check: str, told: list[str]) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    instead = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "panda_server_schema_manage": False,
        "__panda_server_as_service": ["sh", "-c", check],
        "__panda_server_is_current": True,
        "__panda_server_unit_files": {"changed": True},
        "__panda_server_node": {"units": {}},
    }
    around = surroundings(tmp_path, ROOT / "collections")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "n1,",
         "--extra-vars", json.dumps(instead), "play.yml"],
        env={**around, "ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "PATH": f"{tmp_path}:{around['PATH']}"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    last = done.stdout.rpartition("TASK [")[2]
    assert [text for text in told if text not in last] == [], done.stdout
