"""Action plugin behind `panda.provision.demo_certificate`; all of it happens on the control machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.panda.provision.plugins.plugin_utils import demo_ca


class ActionModule(ActionBase):
    """Return a host certificate of the demonstration's own authority, making it where needed."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "folder": {"type": "path", "required": True},
                "host": {"type": "str", "required": True},
                "names": {"type": "list", "elements": "str", "required": True},
            }
        )
        names = list(dict.fromkeys(arguments["names"]))
        made = demo_ca.host_certificate(Path(arguments["folder"]), arguments["host"], names)
        return {"changed": False, "certificate": made.certificate, "key": made.key, "ca": made.ca}
