"""tools/run_stages.py stops at the first failing stage and never takes an empty run for a good one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import run_stages

# Stands in for pytest: writes results with so many tests and failures, and ends with a status.
PYTEST = """
import os, sys
tests, failures, status = map(int, sys.argv[1:])
name = os.environ["PYTEST_ADDOPTS"].split("--junitxml=")[1]
suite = f'<testsuite tests="{tests}" failures="{failures}" errors="0" skipped="1"/>'
open(name, "w").write(f"<testsuites>{suite}</testsuites>")
sys.exit(status)
"""


def pytest_run(tests: int, failures: int = 0, status: int = 0) -> list[str]:
    return [sys.executable, "-c", PYTEST, str(tests), str(failures), str(status)]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return a table of stage -> command that stands in for the real one."""
    table: dict[str, list[str]] = {"lint": [sys.executable, "-c", ""]}
    monkeypatch.setattr(run_stages, "RESULTS", tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setattr(run_stages, "command_of", table.__getitem__)
    return table


def test_the_last_line_counts_the_tests_of_all_stages(
    commands: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    commands |= {"unit": pytest_run(5), "molecule-default": pytest_run(8)}
    assert run_stages.main(["lint", "unit", "molecule-default"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("11 passed, 0 failed, 2 skipped in ")


def test_a_failing_stage_stops_the_rest_and_is_named(
    commands: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    commands |= {"unit": pytest_run(5, failures=2, status=1), "molecule-default": pytest_run(8)}
    assert run_stages.main(["unit", "molecule-default"]) == 1
    output = capsys.readouterr()
    assert "stage unit failed" in output.err
    assert "molecule-default" not in output.out
    assert output.out.splitlines()[-1].startswith("2 passed, 2 failed")


def test_a_stage_that_fails_before_its_tests_counts_as_a_failure(
    commands: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    commands["molecule-default"] = [sys.executable, "-c", "raise SystemExit(2)"]
    assert run_stages.main(["molecule-default"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 passed, 1 failed")


@pytest.mark.parametrize("command", [pytest_run(1), [sys.executable, "-c", ""]], ids=["all skipped", "no results"])
def test_a_stage_that_ran_no_test_has_failed(
    commands: dict[str, list[str]], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    commands["molecule-default"] = command
    assert run_stages.main(["molecule-default"]) == 1
    assert "ran no test" in capsys.readouterr().err


def test_an_unknown_stage_is_refused_before_anything_runs() -> None:
    with pytest.raises(SystemExit, match="no stage is called 'units'"):
        run_stages.main(["lint", "units"])
