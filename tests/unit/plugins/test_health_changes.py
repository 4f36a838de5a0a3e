"""What a playbook would change is what its own --check says, without what is in the files."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils.health import changes

ROOT = Path(__file__).resolve().parents[3]
OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
SECRET = "open-sesame-47"
PLAYBOOK = """\
- name: Play
  hosts: all
  gather_facts: false
  tasks:
    - name: Write a file
      panda.provision.file_set:
        files:
          - {path: "{{ folder }}/one", content: "a\\n", owner: "{{ owner }}", group: "{{ group }}"}
          - {path: "{{ folder }}/two", content: "b\\n", owner: "{{ owner }}", group: "{{ group }}"}
      notify: Follow
    - name: Write a secret
      ansible.builtin.copy:
        dest: "{{ folder }}/secret"
        content: open-sesame-47
        mode: "0600"
      no_log: true
      tags: [secrets]
    - name: Loop
      ansible.builtin.file:
        path: "{{ folder }}/{{ item }}"
        state: directory
        mode: "0755"
      loop: [three, present]
    - name: Do what is done
      ansible.builtin.file:
        path: "{{ folder }}/present"
        state: directory
        mode: "0755"
    - name: Refuse
      ansible.builtin.fail:
        msg: not on this node
      when: inventory_hostname == 'second'
    - name: Switch to the release
      panda.provision.release:
        state: active
        name: 1.0.0-a
        root: "{{ folder }}/releases"
        link: "{{ folder }}/current"
  handlers:
    - name: Follow
      ansible.builtin.file:
        path: "{{ folder }}/followed"
        state: touch
        mode: "0644"
"""


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    (tmp_path / "present").mkdir(mode=0o755)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    (tmp_path / "hosts").write_text(f"first {local}\nsecond {local}\nthird {local}\n")
    return tmp_path / "play.yml"


def cli(playbook: Path, **more: Any) -> dict[str, Any]:
    return {
        "inventory": (str(playbook.parent / "hosts"),),
        "extra_vars": (f"folder={playbook.parent}", f"owner={OWNER}", f"group={GROUP}"),
        **more,
    }


def test_tasks_and_paths_are_named_and_nothing_is_written(playbook: Path) -> None:
    found = changes.look(playbook, ["first", "second"], cli(playbook), str(ROOT / "ansible.cfg"), 120)
    folder = playbook.parent
    told = [(said["task"], said["items"], said["state"], said["handler"]) for said in found["first"]]
    assert told == [
        ("Write a file", [f"{folder}/one", f"{folder}/two"], "changed", False),
        ("Write a secret", [], "changed", False),
        ("Loop", [f"{folder}/three"], "changed", False),
        ("Switch to the release", [f"{folder}/current"], "changed", False),
        ("Follow", [f"{folder}/followed"], "changed", True),
    ]
    assert [said["tags"] for said in found["first"]][:2] == [[], ["secrets"]]
    refused = found["second"][-1]
    assert (refused["task"], refused["state"], refused["message"]) == ("Refuse", "failed", "not on this node")
    assert "third" not in found
    assert SECRET not in str(found)
    assert sorted(path.name for path in folder.iterdir()) == ["hosts", "play.yml", "present"]


def test_a_playbook_that_cannot_run_says_why(playbook: Path) -> None:
    playbook.write_text("- hosts: all\n  tasks:\n    - no.such.module:\n")
    with pytest.raises(changes.NotLookedError, match=r"play\.yml --check ended with 4: .*no\.such\.module"):
        changes.look(playbook, ["first"], cli(playbook), str(ROOT / "ansible.cfg"), 120)


def test_a_playbook_that_does_not_end_is_ended(playbook: Path) -> None:
    text = "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.pause: {seconds: 300}\n"
    playbook.write_text(text)
    with pytest.raises(changes.NotLookedError, match="did not end within 3 s: raise health_drift_seconds"):
        changes.look(playbook, ["first"], cli(playbook), str(ROOT / "ansible.cfg"), 3)


def test_the_other_run_gets_the_options_of_this_one() -> None:
    given = {
        "inventory": ("a", "b"), "extra_vars": ("x=1", "@file"), "vault_password_files": ("v",),
        "vault_ids": ("dev@f",), "remote_user": "root", "ssh_common_args": "-F config", "become": True, "forks": 20,
        "check": False,
    }  # fmt: skip
    assert changes.arguments(given) == [
        "--inventory", "a", "--inventory", "b", "--extra-vars", "x=1", "--extra-vars", "@file",
        "--vault-password-file", "v", "--vault-id", "dev@f",
        "--user=root", "--ssh-common-args=-F config", "--forks=20", "--become",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given", [{"ask_pass": True}, {"become_ask_pass": True}, {"ask_vault_pass": True}, {"vault_ids": ("dev@prompt",)}]
)
def test_a_password_that_was_typed_in_is_asked_for_by_a_file(given: dict[str, Any]) -> None:
    with pytest.raises(changes.NotLookedError, match="health_drift=false"):
        changes.arguments(given)
