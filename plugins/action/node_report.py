"""Action plugin behind `panda.provision.node_report`: says what to look at, and looks from outside as well."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.panda.provision.plugins.plugin_utils.health import questions
from ansible_collections.panda.provision.plugins.plugin_utils.health.looking import LookingAction

ROLES = Path(__file__).resolve().parents[2] / "roles"
CONNECT_SECONDS = 3


class ActionModule(LookingAction):
    """Return what was expected of a node and what was seen of it; `trouble` says why that cannot be told."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec={"outside": {"type": "bool", "default": True}})
        found: dict[str, Any] = {"changed": False, "expected": {}, "seen": {}, "outside": {}, "trouble": ""}
        try:
            expected = self._expected(task_vars)
        except (AnsibleError, ValueError) as error:
            return {**found, "trouble": f"its variables cannot be read: {error}"}
        found["expected"] = expected
        sent = time.time()
        node, found["trouble"] = self._look({"look": questions.look(expected)}, task_vars, "node")
        if found["trouble"]:
            return found
        found["seen"] = {**node, "sent": sent, "received": time.time()}
        if arguments["outside"]:
            found["outside"] = from_here(expected["address"], [int(port) for port in expected["ports"]])
        return found

    def _expected(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The roles' variables as they hold for this node, and its place in the fleet."""
        variables: dict[str, Any] = {}
        for role in questions.ROLES:
            defaults = ROLES / role / "defaults" / "main.yml"
            variables |= self._loader.load_from_file(str(defaults), trusted_as_template=True)
        variables |= task_vars
        templar = self._templar.copy_with_new_env(available_variables=variables)
        values = {name: templar.template(variables[name]) for name in questions.VARIABLES}
        name = task_vars["inventory_hostname"]
        addresses = {
            host: str(self._templar.template(task_vars["hostvars"][host].get("ansible_host", host)))
            for host in {name, *task_vars["groups"].get(values["squid_peer_group"], [])}
        }
        return questions.expected(name, values, task_vars["groups"], addresses)


def from_here(address: str, ports: list[int]) -> dict[str, str]:
    """Port to why the control machine cannot open a connection to it; an empty string where it can."""

    def attempt(port: int) -> str:
        try:
            socket.create_connection((address, port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        return dict(zip(map(str, ports), pool.map(attempt, ports), strict=True))
