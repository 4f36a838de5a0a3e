"""roles/*/tasks/selinux.yml, the real ones: --check on a bare host, where the libraries of its modules are not.

That of panda_server besides on a node where programs that only note what they are asked for stand in for SELinux.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


# What stands in for the programs and modules of SELinux.
SEMODULE = """#!/bin/sh
echo "semodule $*" >>{folder}/asked
case $1 in --list-modules=full) cat {folder}/modules;; esac
"""
RESTORECON = """#!/bin/sh
echo "restorecon $*" >>{folder}/asked
case "$*" in
    *-R*) cat {folder}/unlabelled;;
    *-n*) cat {folder}/unlabelled_cache;;
esac
"""
FIND = """#!/bin/sh
echo "find $*" >>{folder}/asked
"""
MODULE = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(dict.fromkeys({names}, {{"type": "raw"}}), supports_check_mode=True).exit_json(changed=False)
"""
MODULES = {
    "community/general/plugins/modules/seport.py": ["ports", "proto", "setype", "state"],
    "ansible/posix/plugins/modules/seboolean.py": ["name", "state", "persistent"],
}


class Node:
    """A node with SELinux, as far as the role panda_server asks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "log" / "pandacache"
        for name, text in {"semodule": SEMODULE, "restorecon": RESTORECON, "find": FIND}.items():
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).write_text(text.format(folder=folder))
            (folder / "bin" / name).chmod(0o755)
        for path, names in MODULES.items():
            place = folder / "collections" / "ansible_collections" / path
            place.parent.mkdir(parents=True)
            place.write_text(MODULE.format(names=names))
        for name in ("modules", "unlabelled", "unlabelled_cache"):
            (folder / name).write_text("")
        (folder / "play.yml").write_text(PLAYBOOK + TASK.format(role="panda_server"))

    def run(self) -> tuple[list[str], int]:
        """Run the tasks; what was asked, and how many of them changed something."""
        (self.folder / "asked").unlink(missing_ok=True)
        releases = {f"/opt/panda.releases/{name}/release.json": "{}" for name in ("0.9", "1.0")}
        seen = {"packages": [], "links": {"/opt/panda": "panda.releases/1.0"}, "records": {}, "texts": releases}
        known = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_facts": {"os_family": "RedHat"},
            "panda_preflight": {"node": seen},
            "__panda_server_wheelhouse": {"name": "1.0"},
            "__panda_server_policy_file": str(self.folder / "panda_node.cil"),
            "panda_server_logdir": str(self.folder / "log"),
        }
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "n1,",
             "--extra-vars", json.dumps(known), "play.yml"],
            env={
                **surroundings(self.folder, self.folder / "collections"),
                "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            },
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        changed = re.search(r"changed=(\d+)", done.stdout)
        assert changed is not None
        return (self.folder / "asked").read_text().splitlines(), int(changed[1])

    def installed(self) -> None:
        """What semodule says once the module is in the policy."""
        digest = hashlib.sha256((self.folder / "panda_node.cil").read_bytes()).hexdigest()
        (self.folder / "modules").write_text(f"400 panda_node        cil          sha256:{digest} \n")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_module_is_installed_where_the_policy_lacks_it_or_has_another(node: Node) -> None:
    install = f"semodule --install {node.folder}/panda_node.cil"
    assert install in node.run()[0]
    node.installed()
    asked, changed = node.run()
    assert (install in asked, changed) == (False, 0)
    # An interrupted run has left its file, which says nothing.
    (node.folder / "modules").write_text("400 panda_node        cil          sha256:0123 \n")
    assert install in node.run()[0]


def test_labels_are_applied_whatever_an_earlier_run_has_done(node: Node) -> None:
    (node.folder / "unlabelled").write_text("Relabeled /var/trf from var_t to httpd_sys_content_t\n")
    asked, changed = node.run()
    (applied,) = [line.split() for line in asked if line.startswith("restorecon -R")]
    programs = {f"/opt/panda.releases/{name}/bin" for name in ("0.9", "1.0")}
    assert {"/var/trf", "/run/panda", "/run/panda_httpd", *programs} <= set(applied)
    # The module's file, the module, and the labels.
    assert changed == 3
    # The users' files are not walked: their folder has its label.
    assert applied[applied.index("-e") + 1] == str(node.cache)
    assert not any(line.startswith("find") for line in asked)


def test_the_users_files_are_labelled_before_the_folder_whose_label_says_so(node: Node) -> None:
    (node.folder / "unlabelled_cache").write_text(f"Would relabel {node.cache} from var_log_t to httpd_sys_content_t\n")
    assert node.run()[0][-1] == f"find {node.cache} -depth -exec restorecon -i {{}} +"
