"""Action plugin behind `panda.provision.health_report`; all of it happens on the control machine."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.color import stringc
from ansible.utils.display import Display
from ansible_collections.panda.provision.plugins.plugin_utils.health import judge, model, render
from ansible_collections.panda.provision.plugins.plugin_utils.health.columns import neighbours

NARROWEST, WIDEST = 80, 120
display = Display()


class ActionModule(ActionBase):
    """Judge what was seen of the nodes, write the report and show it."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "findings": {"type": "dict", "required": True},
                "changes": {"type": "dict", "default": {}},
                "balancers": {"type": "list", "elements": "dict", "default": []},
                "folder": {"type": "path", "required": True},
                "certificate_days": {"type": "int", "default": 30},
                "clock_seconds": {"type": "float", "default": 2.0},
                "disk_percent": {"type": "int", "default": 90},
                "restarts": {"type": "int", "default": 3},
                "ntp": {"type": "bool", "default": True},
            }
        )
        limits = model.Limits(
            **{
                name: arguments[name]
                for name in ("certificate_days", "clock_seconds", "disk_percent", "restarts", "ntp")
            }
        )
        looked = "changes" in arguments["changes"] and not arguments["changes"].get("trouble")
        balancers = {said["item"]: said["nodes"] for said in arguments["balancers"] if not said["trouble"]}
        nodes = judge.fleet(
            arguments["findings"], arguments["changes"]["changes"] if looked else None, balancers, limits
        )
        remarks = neighbours.strangers(arguments["findings"], balancers)
        remarks += [
            f"Which nodes {said['item']} sends requests to is not known: it {said['trouble']}"
            for said in arguments["balancers"]
            if said["trouble"]
        ]
        if arguments["changes"].get("trouble"):
            remarks.append(f"Drift is not known: {arguments['changes']['trouble']}")
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        folder = Path(arguments["folder"]).resolve()
        document = render.document(nodes, limits, when, remarks)
        render.write(folder / "health.json", json.dumps(document, indent=2) + "\n")
        render.write(folder / "health.html", render.page(nodes, limits, when, remarks))
        self._show(nodes, remarks, folder)
        return {
            "changed": False,
            "sound": document["sound"] and not remarks,
            "headline": render.headline(nodes),
            "remarks": remarks,
            "faults": {node.name: [f"{fault.thing} {fault.what}" for fault in node.faults] for node in nodes},
            "json": str(folder / "health.json"),
            "page": str(folder / "health.html"),
        }

    def _show(self, nodes: list[model.Node], remarks: list[str], folder: Path) -> None:
        """The table, the faults, and where the files are."""
        width = min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)
        heading, *rows = render.table(nodes, width)
        sick = constants.COLOR_ERROR
        lines = ["", stringc(heading, constants.COLOR_HIGHLIGHT)]
        lines += [stringc(row, sick) if node.faults else row for node, row in zip(nodes, rows, strict=True)]
        lines += render.fault_lines(nodes, width)
        for remark in remarks:
            lines += ["", *(stringc(line, sick) for line in render.wrapped(remark, width, "", ""))]
        sound = not remarks and not any(node.faults for node in nodes)
        lines += ["", stringc(render.headline(nodes), constants.COLOR_OK if sound else sick)]
        lines += [f"{folder}/health.html", f"{folder}/health.json"]
        display.display("\n".join(lines))
