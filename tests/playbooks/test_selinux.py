"""roles/*/tasks/selinux.yml, the real ones, --check on a bare host, where the libraries of its modules are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = "policycoreutils-python-utils"
ROLES = ("panda_server", "squid", "load_balancer")
PLAYBOOK = """
- name: Label
  hosts: n1
  gather_facts: false
  tasks:
"""
TASK = """
    - name: Label
      ansible.builtin.import_role: {{name: {role}, tasks_from: selinux.yml}}
"""


def test_check_leaves_out_what_it_cannot_tell_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK + "".join(TASK.format(role=role) for role in ROLES))
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "panda_preflight": {"node": {"packages": ["httpd"]}},
    }
    collections = [str(ROOT / folder) for folder in ("collections", ".cache/collections")]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "n1,", "--check",
         "--extra-vars", json.dumps(variables), "play.yml"],
        env={
            **surroundings(tmp_path, ROOT / "collections"),
            "ANSIBLE_COLLECTIONS_PATH": ":".join(collections),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        },
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"cannot be told before {LIBRARIES} is installed") == len(ROLES), done.stdout
