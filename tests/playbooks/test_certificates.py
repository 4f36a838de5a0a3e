"""roles/panda_server/tasks/certificates.yml, the real one: httpd reads a certificate that it has not read yet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- name: Put in place
  hosts: n1
  gather_facts: false
  tasks:
    - name: Put in place
      ansible.builtin.import_role: {name: panda_server, tasks_from: certificates.yml}
"""
SYSTEMCTL = """#!/bin/sh
case "$*" in
    *show*) printf 'LoadState=loaded\\nActiveState=active\\n' ;;
    *) echo "$*" >>{said} ;;
esac
"""
CERTIFICATE = "/etc/grid-security/hostcert.pem"
RENEWED = f"port 25443 serves another certificate than {CERTIFICATE} holds: reload the service"


@pytest.mark.parametrize(("seen", "said"), [(RENEWED, "reload panda_httpd.service\n"), ("", "")])
def test_a_certificate_that_the_site_has_renewed_on_the_node_is_read_by_the_next_run(
    tmp_path: Path, seen: str, said: str
) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "said").touch()
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(said=tmp_path / "said"))
    (tmp_path / "systemctl").chmod(0o755)
    instead = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "panda_server_certificate_source": "node",
        "panda_preflight": {"node": {"served": {CERTIFICATE: seen}, "units": {"panda.service": {"active": "active"}}}},
    }
    around = surroundings(tmp_path, ROOT / "collections")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "n1,",
         "--extra-vars", json.dumps(instead), "play.yml"],
        env={**around, "ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "PATH": f"{tmp_path}:{around['PATH']}"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "said").read_text() == said
    assert (RENEWED in done.stdout) == bool(said)
