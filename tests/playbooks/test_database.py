"""playbooks/database.yml, the real one. What it does in PostgreSQL is stated of its module panda_schema."""

from __future__ import annotations

import json
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


def test_the_version_of_a_checkout_with_the_real_ones_layout_is_found(tmp_path: Path) -> None:
    sqls = tmp_path / "checkout" / "schema" / "postgres" / "sqls"
    sqls.mkdir(parents=True)
    (sqls.parent / "version").write_text("0.1.6\n")
    (sqls / "init_step.sql").write_text("SELECT 1;\n")
    for name in ("psql", "runuser"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'no server here' >&2; exit 2\n")
        (tmp_path / name).chmod(0o755)
    around = surroundings(tmp_path, ROOT / "collections")
    variables = {
        "panda_database_source": str(tmp_path / "checkout"),
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    (tmp_path / "hosts").write_text("[panda_databases]\nd1\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--inventory", tmp_path / "hosts",
         "--extra-vars", json.dumps(variables), ROOT / "playbooks" / "database.yml"],
        env={**around, "PATH": f"{tmp_path}:{around['PATH']}"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # All that it asked before was the checkout.
    assert "psql ended with 2: no server here" in done.stdout, done.stdout
