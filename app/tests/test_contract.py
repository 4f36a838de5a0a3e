"""The contract tests, which any PanDA server should pass, against ours."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("front", "credentials"),
    [("sqlite", "token"), ("sqlite", "certificate"), ("postgres", "certificate"), ("mariadb", "certificate")],
    indirect=["front"],
)
def test_our_server_keeps_the_contract(front: Any, issuer: Any, authority: Any, credentials: str) -> None:
    options = [
        "--base-url",
        front.url,
        "--ca",
        authority.file,
        "--pilot-cert",
        authority.issue("pilot"),
        "--settle",
        30,
    ]
    if credentials == "token":
        options += ["--token", issuer.token()]
    else:
        options += ["--user-cert", authority.issue("alice")]
    command = [sys.executable, "-m", "pytest", "-q", ROOT / "tests/contract", *options]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
