"""The entry of logrotate, over several sets of variables."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Render

# Also tried with the logrotate of a test node, in tests/node/test_logrotate.py.
VARIANTS: dict[str, dict[str, Any]] = {
    "nothing set": {},
    "much set": {
        "logrotate_logs": ["/srv/panda/logs/*log", "/srv/panda/logs/*.out"],
        "logrotate_user": "root",
        "logrotate_group": "root",
        "logrotate_frequency": "weekly",
        "logrotate_rotate": 52,
        "logrotate_compress": False,
    },
}


def entry(render: Render, **variables: Any) -> list[str]:
    text = str(render("logrotate", "panda_server.j2", **variables))
    return [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]


@pytest.mark.parametrize("name", VARIANTS)
def test_no_variant_runs_anything(render: Render, name: str) -> None:
    assert not {"postrotate", "prerotate", "firstaction", "lastaction"} & set(entry(render, **VARIANTS[name]))


def test_unset_it_keeps_fourteen_days_of_the_logs_that_the_account_owns(render: Render) -> None:
    found = entry(render)
    assert found[:2] == ["/var/log/panda/*log", "{"]
    assert {"daily", "rotate 14", "su atlpan zp", "nocreate"} <= set(found)


def test_it_follows_the_role_panda_server(render: Render) -> None:
    found = entry(render, panda_server_logdir="/data/logs", panda_server_user="panda", panda_server_group="panda")
    assert found[0] == "/data/logs/*log"
    assert "su panda panda" in found


def test_a_log_just_renamed_is_not_compressed_while_something_may_write_to_it(render: Render) -> None:
    found = entry(render)
    assert "compress" in found
    assert "delaycompress" in found


def test_compression_can_be_left_out(render: Render) -> None:
    assert "nocompress" in entry(render, logrotate_compress=False)


def test_every_pattern_has_a_line(render: Render) -> None:
    found = entry(render, **VARIANTS["much set"])
    assert found[:3] == ["/srv/panda/logs/*log", "/srv/panda/logs/*.out", "{"]
    assert {"weekly", "rotate 52", "su root root"} <= set(found)
