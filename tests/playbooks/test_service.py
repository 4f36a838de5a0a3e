"""roles/panda_server/tasks/service.yml, the real one: a parent that does not start says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import enter_role

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
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    instead = {
        "panda_server_schema_manage": False,
        "__panda_server_as_service": ["sh", "-c", check],
        "__panda_server_is_current": True,
        "__panda_server_unit_files": {"changed": True},
        "__panda_server_node": {"units": {}},
    }
    done = enter_role("service.yml", tmp_path, instead)
    assert done.returncode != 0
    last = done.stdout.rpartition("TASK [")[2]
    assert [text for text in told if text not in last] == [], done.stdout
