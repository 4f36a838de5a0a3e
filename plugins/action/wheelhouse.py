"""Action plugin behind `panda.provision.wheelhouse`; all of it happens on the control machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.panda.provision.plugins.plugin_utils import payload, wheelhouse

ROOT = Path(__file__).resolve().parents[2]


class ActionModule(ActionBase):
    """Build a wheelhouse archive of the bundled application or of the public package, or check a given one."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "archive": {"type": "path", "default": ""},
                "requirement": {"type": "str", "default": ""},
                "follow": {"type": "bool", "default": True},
                "app": {"type": "path", "default": str(ROOT / "app")},
                "cache": {"type": "path", "default": str(ROOT / ".cache" / "wheelhouse")},
            }
        )
        requirement = arguments["requirement"]
        if not (arguments["archive"] or arguments["follow"]) and payload.follows(requirement):
            return {"changed": False, "skipped": True, "msg": f"where {requirement} is now was not asked"}
        try:
            if arguments["archive"]:
                made = wheelhouse.read(Path(arguments["archive"]))
            elif requirement:
                app, cache = Path(arguments["app"]), Path(arguments["cache"])
                # A folder that ansible-playbook makes for each of its runs.
                run = Path(constants.DEFAULT_LOCAL_TMP)
                made = payload.build(app, cache, requirement, ROOT / "requirements" / "payload", run)
            else:
                made = wheelhouse.build(Path(arguments["app"]), Path(arguments["cache"]))
        except wheelhouse.WheelhouseError as error:
            raise AnsibleActionFail(str(error)) from error
        return {
            "changed": False, "name": made.name, "archive": made.archive, "checksum": made.checksum,
            "requirement": made.requirement,
        }  # fmt: skip
