"""roles/panda_server/tasks/account.yml, the real one, under --check: an account that is there is left as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import enter_role


@pytest.mark.parametrize(
    ("account", "made"),
    [({}, ["group", "account"]), ({"group": "site"}, ["group"]), ({"group": "zp"}, [])],
    ids=["none", "of another group", "as it should be"],
)
def test_only_what_is_missing_is_made(tmp_path: Path, account: dict[str, str], made: list[str]) -> None:
    instead = {
        "panda_server_user": "no-such-account",
        "panda_preflight": {"node": {"accounts": {"no-such-account": account}}},
    }
    done = enter_role("account.yml", tmp_path, instead, "--check")
    assert done.returncode == 0, done.stdout
    tasks = re.findall(r"Create the (group|account)\] \*+\n(\w+):", done.stdout)
    assert [name for name, outcome in tasks if outcome == "changed"] == made
