"""Action plugin behind `panda.provision.site_changes`; all of it happens on the control machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.plugins.action import ActionBase
from ansible_collections.panda.provision.plugins.plugin_utils.health import changes


class ActionModule(ActionBase):
    """Return what a playbook would change on hosts. Why it cannot be told is an answer too: `trouble`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "playbook": {"type": "path", "required": True},
                "findings": {"type": "dict", "required": True},
                "seconds": {"type": "int", "default": 600},
            }
        )
        # What cannot be looked at would only be waited for again, and offboarded hosts are none of site.yml's.
        hosts = [
            host
            for host, found in arguments["findings"].items()
            if not found["trouble"] and not found["expected"]["offboarded"]
        ]
        if not hosts:
            return {"changed": False, "changes": {}, "trouble": ""}
        try:
            found = changes.look(
                Path(arguments["playbook"]).resolve(),
                hosts,
                context.CLIARGS,
                constants.CONFIG_FILE,
                arguments["seconds"],
            )
        except changes.NotLookedError as error:
            return {"changed": False, "changes": {}, "trouble": str(error)}
        return {"changed": False, "changes": found, "trouble": ""}
