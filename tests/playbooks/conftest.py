"""What the statements about the playbooks themselves are made with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENTRANCE = """
- name: Enter the role
  hosts: n1
  gather_facts: false
  tasks:
    - name: Enter the role
      ansible.builtin.import_role: {name: panda_server, tasks_from: TASKS}
"""


def surroundings(folder: Path, collections: Path) -> dict[str, str]:
    """The environment of an ansible-playbook that finds roles in a test's folder, and no setting of this machine."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(folder / "none.cfg"),
        "ANSIBLE_ROLES_PATH": str(folder / "roles"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_GATHERING": "explicit",
        # All hosts at once.
        "ANSIBLE_FORKS": "10",
    }


def enter_role(
    tasks: str, folder: Path, variables: dict[str, Any], *options: str, roles: Path = ROOT / "roles"
) -> subprocess.CompletedProcess[str]:
    """Run a file of tasks of the role panda_server on this machine, with the programs in `folder` before its own."""
    (folder / "play.yml").write_text(ENTRANCE.replace("TASKS", tasks))
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    around = surroundings(folder, ROOT / "collections")
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "n1,",
         "--extra-vars", json.dumps({**here, **variables}), *options, "play.yml"],
        env={**around, "ANSIBLE_ROLES_PATH": str(roles), "PATH": f"{folder}:{around['PATH']}"},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
