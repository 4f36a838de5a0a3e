"""roles/panda_server/tasks/account.yml, the real one, under --check: an account that is there is left as it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- name: Have the account
  hosts: n1
  gather_facts: false
  tasks:
    - name: Have the account
      ansible.builtin.import_role: {name: panda_server, tasks_from: account.yml}
"""


@pytest.mark.parametrize(
    ("account", "made"),
    [({}, ["group", "account"]), ({"group": "site"}, ["group"]), ({"group": "zp"}, [])],
    ids=["none", "of another group", "as it should be"],
)
def test_only_what_is_missing_is_made(tmp_path: Path, account: dict[str, str], made: list[str]) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    instead = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "panda_server_user": "no-such-account",
        "panda_preflight": {"node": {"accounts": {"no-such-account": account}}},
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--check", "--inventory", "n1,",
         "--extra-vars", json.dumps(instead), "play.yml"],
        env={**surroundings(tmp_path, ROOT / "collections"), "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    tasks = re.findall(r"Create the (group|account)\] \*+\n(\w+):", done.stdout)
    assert [name for name, outcome in tasks if outcome == "changed"] == made
