"""Write down every module that Ansible executes on a host, and every file that it sends there.

A task is no measure of cost: one `template` task executes several modules. So the place that all
action plugins go through is watched. Worker processes are forks of the one that loads this plugin,
and append to the same file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: executions
type: notification
short_description: writes down every module execution
description:
  - Appends one line for each execution, host, kind and task, to the file that EXECUTIONS_FILE names.
"""


def record(action: ActionBase, kind: str) -> None:
    """Append one line; short appends of several processes do not mix."""
    host = action._task.delegate_to or action._play_context.remote_addr
    with Path(os.environ["EXECUTIONS_FILE"]).open("a") as file:
        file.write(f"{host}\t{kind}\t{action._task.get_name()}\n")


def watch(owner: type, method: str, kind: Callable[..., str]) -> None:
    """Wrap a method so that each call is recorded before it is made."""
    original = owner.__dict__[method]

    @wraps(original)
    def recorded(self: ActionBase, *args: Any, **kwargs: Any) -> Any:
        record(self, kind(self, *args, **kwargs))
        return original(self, *args, **kwargs)

    setattr(owner, method, recorded)


def module_kind(action: ActionBase, module_name: str | None = None, *_args: Any, **_kwargs: Any) -> str:
    """Return the name of the module that a call executes."""
    return f"module {module_name or action._task.action}"


def file_kind(_action: ActionBase, *_args: Any, **_kwargs: Any) -> str:
    """Return what a sent file is recorded as."""
    return "file"


class CallbackModule(CallbackBase):
    """Starts watching when Ansible loads it; reports nothing by itself."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "executions"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owners: list[type] = [ActionBase]
        if os.environ.get("ANSIBLE_STRATEGY", "").startswith("mitogen"):
            # Its mixin stands in front of ActionBase and does both by itself.
            from ansible_mitogen.mixins import ActionModuleMixin

            owners.append(ActionModuleMixin)
        for owner in owners:
            watch(owner, "_execute_module", module_kind)
            watch(owner, "_transfer_data", file_kind)
            if "_transfer_file" in owner.__dict__:
                watch(owner, "_transfer_file", file_kind)
