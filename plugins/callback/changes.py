"""Say, a line of JSON each, what tasks change or fail: what `playbooks/health.yml` reads of `site.yml --check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: changes
type: stdout
short_description: What tasks change or fail, in lines of JSON
description:
  - Writes one line of JSON for every task that changes something on a host, fails there or cannot reach it.
  - It names the task and the paths, units or packages, and shows no content and no diff. Of a task with C(no_log)
    it names nothing but the task and its tags.
"""


class CallbackModule(CallbackBase):
    """What Ansible asks for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "panda.provision.changes"

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.result.get("changed"):
            self._say(result, "changed")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._say(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._say(result, "unreachable")

    def _say(self, result: Any, state: str) -> None:
        said = result.result
        line = {
            "host": result.host.get_name(),
            "task": result.task.get_name().rpartition(" : ")[2],
            "tags": sorted(set(map(str, result.task.tags))),
            "handler": isinstance(result.task, Handler),
            "state": state,
            "items": [] if result.task.no_log else sorted(set(items(said))),
            "faults": [str(fault) for fault in said.get("faults") or []] if state == "failed" else [],
            "message": "" if state == "changed" or result.task.no_log else str(said.get("msg", ""))[:500],
        }
        print(json.dumps(line), file=sys.stdout, flush=True)


def items(said: Mapping[str, Any]) -> Iterator[str]:
    """The paths, units or packages that a result is about."""
    if "results" in said and isinstance(said["results"], list):
        for one in said["results"]:
            if isinstance(one, Mapping) and one.get("changed"):
                yield from items(one)
        return
    if said.get("changed_paths"):
        yield from map(str, said["changed_paths"])
        return
    given = (said.get("invocation") or {}).get("module_args") or {}
    for key in ("link", "dest", "path", "name"):
        value = said.get(key) if key != "link" and said.get(key) else given.get(key)
        # `link` belongs to one state of the module `release` only.
        if not value or (key == "link" and given.get("state") != "active"):
            continue
        yield from map(str, value if isinstance(value, list) else [value])
        return
