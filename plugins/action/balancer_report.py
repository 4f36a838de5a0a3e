"""Action plugin behind `panda.provision.balancer_report`."""

from __future__ import annotations

from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health.looking import LookingAction


class ActionModule(LookingAction):
    """Return which nodes a balancer has; `trouble` says why that cannot be told."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        nodes, trouble = self._look(self._task.args, task_vars or {}, "nodes")
        return {"changed": False, "nodes": nodes or {}, "trouble": trouble}
