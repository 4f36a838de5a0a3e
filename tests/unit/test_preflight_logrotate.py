"""What the role logrotate refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.plugin_utils.preflight import logrotate

GOOD: dict[str, Any] = {
    "logrotate_logs": ["/var/log/panda/*log"],
    "logrotate_user": "atlpan",
    "logrotate_group": "zp",
    "logrotate_frequency": "daily",
    "logrotate_rotate": 14,
    "logrotate_compress": True,
}
# The entry that comes with the public package.
BY_HAND = """\
/var/log/panda/*log {
    daily
    postrotate
        killall -u atlpan python
        /sbin/service httpd-pandasrv restart
    endscript
}
"""
PACKAGED = {
    "/etc/logrotate.conf": "weekly\nrotate 4\ninclude /etc/logrotate.d\n",
    "/etc/logrotate.d/squid": "/var/log/squid/*.log {\n postrotate\n  /usr/sbin/squid -k rotate\n endscript\n}\n",
}


def faults(texts: dict[str, str] | None = None, **variables: Any) -> list[str]:
    return logrotate.faults({**GOOD, **variables}, {"texts": {**PACKAGED, **(texts or {})}})


def test_what_is_right_has_no_fault() -> None:
    assert faults() == []


def test_our_own_entry_is_replaced_whatever_it_holds() -> None:
    assert faults({"/etc/logrotate.d/panda_server": BY_HAND}) == []


@pytest.mark.parametrize("path", ["/etc/logrotate.d/panda_server.logrotate", "/etc/logrotate.conf"])
def test_another_entry_for_the_same_logs_is_named(path: str) -> None:
    (fault,) = faults({path: BY_HAND})
    assert fault.startswith(f"{path}: rotates /var/log/panda/*log")


def test_a_file_that_logrotate_ignores_is_ignored() -> None:
    assert faults({"/etc/logrotate.d/panda.rpmsave": BY_HAND}) == []


def test_every_way_to_name_a_log_is_seen() -> None:
    text = """\
# /var/log/panda/no_log {
"/var/log/panda/a_log"
/b/log /c/log {
    postrotate
    }
    endscript
}
/d {}
/e
{
}
"""
    assert list(logrotate.patterns(text)) == ["/var/log/panda/a_log", "/b/log", "/c/log", "/d", "/e"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/v/p/*log", "/v/p/*log"),
        ("/v/p/a_log", "/v/p/*log"),
        ("/v/p/*.log", "/v/p/panda*"),
        ("/v/*/*log", "/v/p/*log"),
        ("/v/p/[ab]log", "/v/p/a*"),
        ("/v/p/?log", "/v/p/*log"),
    ],
)
def test_patterns_that_meet(first: str, second: str) -> None:
    assert logrotate.overlap(first, second)
    assert logrotate.overlap(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/v/p/*.gz", "/v/p/*log"),
        ("/v/*log", "/v/p/*log"),
        ("/v/q/*", "/v/p/*"),
        ("/v/p/*/a", "/v/p/*log"),
        ("/v/p/a", "/v/p/?b"),
    ],
)
def test_patterns_that_do_not_meet(first: str, second: str) -> None:
    assert not logrotate.overlap(first, second)
    assert not logrotate.overlap(second, first)


@pytest.mark.parametrize(
    "variables",
    [
        {"logrotate_logs": []},
        {"logrotate_logs": ["logs/*log"]},
        {"logrotate_logs": ["/var/log/pan da/*log"]},
        {"logrotate_user": "a b"},
        {"logrotate_group": ""},
        {"logrotate_rotate": 0},
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_name(variables: dict[str, Any]) -> None:
    (fault,) = faults(**variables)
    assert fault.startswith(next(iter(variables)))
