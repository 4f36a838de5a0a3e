"""What is given on the command line is text, and preflight, the real one, says where text cannot be meant."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  roles: [squid]
"""


@pytest.fixture
def preflight(tmp_path: Path) -> Callable[[str], str]:
    """`preflight(given)`: what the role squid says with `-e given`; it is only listed what it would do."""
    (tmp_path / "play.yml").write_text(PLAY)
    environment = surroundings(tmp_path, ROOT / "collections")
    environment["ANSIBLE_COLLECTIONS_PATH"] += f":{ROOT / '.cache' / 'collections'}"
    environment["ANSIBLE_ROLES_PATH"] = str(ROOT / "roles")
    environment["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable

    def run(given: str) -> str:
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", tmp_path / "play.yml"]
        done = subprocess.run(
            [*command, "--check", "--tags", "always", "-e", given],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return " ".join((done.stdout + done.stderr).split())

    return run


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("squid_firewall_manage=false", "squid_firewall_manage: is the text 'false', not a bool"),
        ("squid_paths=/cache/", "squid_paths: is the text '/cache/', not a list"),
    ],
)
def test_a_text_is_not_taken_for_a_switch_or_a_list(preflight: Callable[[str], str], given: str, fault: str) -> None:
    said = preflight(given)
    assert fault in said
    assert f"""-e '{{"{given.partition("=")[0]}": ...}}'""" in said


def test_what_json_gives_is_taken_as_it_is(preflight: Callable[[str], str]) -> None:
    said = preflight('{"squid_firewall_manage": false, "squid_paths": ["/cache/"]}')
    assert "Refuse bad input" in said
    assert "is the text" not in said


def test_a_number_may_be_a_text(preflight: Callable[[str], str]) -> None:
    said = preflight("squid_icp_port=3131")
    assert "Refuse bad input" in said
    assert "squid_icp_port" not in said
