"""Action plugin behind `panda.provision.release`: takes the wheelhouse archive to the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Send the archive from the control machine where a release is to be made of it, then run the module.

    It goes straight to a private folder, which Ansible removes; the module checks its hash. A `copy` before
    would look at the node and run there twice more.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("archive") and arguments.get("state") == "installed" and not self._task.check_mode:
            local = str(arguments["archive"])
            folder = self._connection._shell.tmpdir or self._make_tmp_path()
            remote = self._connection._shell.join_path(folder, Path(local).name)
            arguments["archive"] = self._transfer_file(local, remote)
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=False)
        return result
