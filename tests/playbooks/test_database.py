"""playbooks/database.yml, the real one. What it does in PostgreSQL is stated of its module panda_schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .conftest import surroundings

ROOT = Path(__file__).resolve().parents[2]


def test_an_inventory_without_a_database_is_refused_not_passed_over(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", ROOT / "inventories" / "production",
         "--extra-vars", f"panda_database_source={tmp_path}", ROOT / "playbooks" / "database.yml"],
        env=surroundings(tmp_path, ROOT / "collections"), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert "No host is in the group panda_databases" in done.stdout
