"""The module reload_units lets units read what was written, and forgets that they had to only when they all have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import RunModule

# Notes what it is asked for, and fails where it is told to.
PROGRAM = """#!/bin/sh
echo "${0##*/} $@" >>FOLDER/asked
[ ! -e FOLDER/fail ] || { echo "Job for $2 failed" >&2; exit $(cat FOLDER/fail); }
"""
PENDING = "etc/a\n"


@pytest.fixture
def reload_units(run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs the module on a node where files are waiting."""
    (tmp_path / "bin").mkdir()
    for name in ("systemctl", "firewall-cmd"):
        program = tmp_path / "bin" / name
        program.write_text(PROGRAM.replace("FOLDER", str(tmp_path)))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "pending").write_text(PENDING)
    return lambda check=False, **options: run_module(
        "reload_units", {**options, "pending": str(tmp_path / "pending")}, check=check
    )


def asked(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().splitlines() if path.exists() else []


def test_all_units_of_a_kind_take_one_command_and_none_that_is_stopped_is_started(
    reload_units: Any, tmp_path: Path
) -> None:
    assert reload_units(reload=["a.service", "b.service"], restart=["c.service"])["changed"]
    assert asked(tmp_path) == ["systemctl try-reload-or-restart a.service b.service", "systemctl try-restart c.service"]
    assert not (tmp_path / "pending").exists()


def test_what_fails_is_owed_still(reload_units: Any, tmp_path: Path) -> None:
    (tmp_path / "fail").write_text("1")
    refused = reload_units(reload=["a.service"])
    assert refused["failed"]
    assert refused["msg"] == "systemctl try-reload-or-restart a.service answered 1: Job for a.service failed"
    assert (tmp_path / "pending").read_text() == PENDING


def test_check_mode_tells_and_does_nothing(reload_units: Any, tmp_path: Path) -> None:
    assert reload_units(check=True, reload=["a.service"])["changed"]
    assert asked(tmp_path) == []
    assert (tmp_path / "pending").exists()


def test_where_no_unit_has_to_read_anything_nothing_is_owed_any_more(reload_units: Any, tmp_path: Path) -> None:
    assert not reload_units()["changed"]
    assert asked(tmp_path) == []
    assert not (tmp_path / "pending").exists()


def test_the_firewall_is_open_again_before_a_unit_reads_anything(reload_units: Any, tmp_path: Path) -> None:
    assert reload_units(firewall=True, reload=["a.service"])["changed"]
    assert asked(tmp_path) == ["firewall-cmd --reload", "systemctl try-reload-or-restart a.service"]


def test_a_firewall_that_does_not_run_is_left_alone(reload_units: Any, tmp_path: Path) -> None:
    (tmp_path / "fail").write_text("252")
    assert reload_units(firewall=True)["changed"]
    assert not (tmp_path / "pending").exists()
