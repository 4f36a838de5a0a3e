"""Run stages of checks one after another, stop at the first that fails, count the tests.

Stages: `lint`, `unit` and `molecule-<scenario>`. A stage that should run tests and ran none has failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".cache" / "test-results"


@dataclass(frozen=True)
class Count:
    """How many tests a pytest run had, by outcome."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def command_of(stage: str) -> list[str]:
    """Return the command that a stage runs."""
    if stage == "lint":
        return ["tools/lint"]
    if stage == "unit":
        return ["pytest", "--quiet", "--numprocesses", "auto"]
    if stage.startswith("molecule-"):
        return ["molecule", "test", "--scenario-name", stage.removeprefix("molecule-")]
    raise SystemExit(f"no stage is called {stage!r}; there are lint, unit and molecule-<scenario>")


def count_tests(results: Path) -> Count:
    """Return the outcome counts of a pytest run from the results file it wrote, zeros where it wrote none."""
    if not results.is_file():
        return Count()
    suites = ElementTree.parse(results).getroot().iter("testsuite")  # noqa: S314  pytest wrote it just now
    total = Count()
    for suite in suites:
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        total += Count(int(suite.get("tests", 0)) - failed - skipped, failed, skipped)
    return total


def run_stage(stage: str) -> tuple[str, Count]:
    """Run one stage; return why it failed, empty when it did not, and its tests."""
    command = command_of(stage)
    results = RESULTS / f"{stage}.xml"
    results.unlink(missing_ok=True)
    # Molecule starts pytest by itself, so the file to write is named through the environment.
    options = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={results}"
    status = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False, env={**os.environ, "PYTEST_ADDOPTS": options}
    ).returncode
    count = count_tests(results)
    if status != 0:
        return f"{' '.join(command)} ended with status {status}", count
    if stage != "lint" and count.passed + count.failed == 0:
        return f"{' '.join(command)} ran no test", count
    return "", count


def main(stages: list[str]) -> int:
    """Run the stages and print time and tests of each, and the sum at the end."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        command_of(stage)
    lines = []
    total = Count()
    failure = ""
    began = time.monotonic()
    for stage in stages:
        print(f"\n===== {stage}", flush=True)
        stage_began = time.monotonic()
        failure, count = run_stage(stage)
        total += count
        outcome = "FAILED" if failure else "ok"
        tests = "" if stage == "lint" else f", {count}"
        lines.append(f"  {stage:<22} {outcome:<6} {time.monotonic() - stage_began:6.0f} s{tests}")
        if failure:
            break
    print("\n===== stages", *lines, sep="\n")
    if failure:
        print(f"stage {stage} failed: {failure}", file=sys.stderr)
        total = Count(total.passed, total.failed or 1, total.skipped)
    print(f"{total} in {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
