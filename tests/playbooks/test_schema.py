"""roles/panda_server/tasks/schema.yml, the real one: of the nodes that share a database one migrates its schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- name: Migrate
  hosts: all
  gather_facts: false
  serial: "{{ batch }}"
  tasks:
    - name: Migrate
      ansible.builtin.import_role: {name: panda_server, tasks_from: schema.yml}
"""
ONE, OTHER = (
    {"panda_server_backend": "postgres", "panda_server_dbhost": f"db-{number}", "panda_server_dbname": "panda"}
    for number in (1, 2)
)
OWN = {"panda_server_backend": "sqlite"}
NEWER = {**ONE, "release": "2"}
HOSTS = {"n1": ONE, "n2": ONE, "n3": OTHER, "n4": ONE, "n5": OWN, "n6": OWN, "n7": NEWER}


@pytest.mark.parametrize(
    ("batch", "limit", "migrating"),
    [
        ("100%", "all", ["n1", "n3", "n5", "n6", "n7"]),
        ("100%", "n2,n4", ["n2"]),
        # Every batch by itself: what stands in front of the next one may stop it.
        ("2", "n1,n2,n4", ["n1", "n4"]),
    ],
)
def test_one_node_for_each_database_and_release(tmp_path: Path, batch: str, limit: str, migrating: list[str]) -> None:
    everywhere = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "release": "1"}
    inventory, playbook = tmp_path / "hosts.json", tmp_path / "play.yml"
    inventory.write_text(json.dumps({"all": {"hosts": HOSTS, "vars": everywhere}}))
    playbook.write_text(PLAYBOOK)
    note = ["sh", "-c", 'touch "$0"', f"{tmp_path}/{{{{ inventory_hostname }}}}.did"]
    instead = {"batch": batch, "__panda_server_release": "{{ release }}", "__panda_server_as": note}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", inventory, "--limit", limit,
         "--extra-vars", json.dumps(instead), playbook],
        env={**surroundings(tmp_path, ROOT / "collections"), "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.stem for path in tmp_path.glob("*.did")) == migrating
