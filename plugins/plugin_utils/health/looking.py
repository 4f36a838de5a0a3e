"""What the action plugins that look at hosts for the health report share."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class LookingAction(ActionBase):
    """Runs the module of the same name. It does not fail: a host that cannot be looked at is a finding."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def _look(self, arguments: dict[str, Any], task_vars: dict[str, Any], wanted: str) -> tuple[Any, str]:
        """What the module returns under a name, and why it returned nothing."""
        try:
            answer = self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=False)
        except AnsibleConnectionFailure as error:
            return None, f"cannot be reached: {error}"
        if answer.get("unreachable"):
            return None, f"cannot be reached: {answer.get('msg', '')}"
        if wanted not in answer:
            said = answer.get("module_stderr") or answer.get("msg") or "it answered nothing"
            return None, f"cannot be looked at: {str(said).strip()}"
        return answer[wanted], ""
