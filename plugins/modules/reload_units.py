#!/usr/bin/python
"""Let units read what was written for them, in one module execution."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reload_units
short_description: Let units read what was written for them
description:
  - Reloads some units and restarts others in one module execution, where C(systemd_service) takes one for each; then
    forgets that files were waiting for it, see the option O(pending) of M(panda.provision.file_set).
  - A unit that is not running is left alone.
options:
  firewall:
    description:
      - Reload firewalld before the units, and wait for its end, which C(systemctl) does not. While it reloads nothing
        gets through, and a service that reads its configuration meanwhile may hang over a helper that it cannot reach.
    type: bool
    default: false
  reload:
    description: Units to reload.
    type: list
    elements: str
    default: []
  restart:
    description: Units to restart.
    type: list
    elements: str
    default: []
  pending:
    description: File that lists what was not in use yet. It is removed when all units have read it.
    type: path
    required: true
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Bring what was written into use
  panda.provision.reload_units:
    firewall: true
    reload: [squid.service]
    pending: /run/panda-provision/squid
"""

import os

from ansible.module_utils.basic import AnsibleModule

# Of systemctl: both leave a unit alone that is not running.
VERBS = {"reload": "try-reload-or-restart", "restart": "try-restart"}
FIREWALL_NOT_RUNNING = 252


def main() -> None:
    """Run as an Ansible module."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            **dict.fromkeys(VERBS, names),
            "firewall": {"type": "bool", "default": False},
            "pending": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    firewall = module.params["firewall"]
    commands = [["systemctl", verb, *module.params[option]] for option, verb in VERBS.items() if module.params[option]]
    if not module.check_mode:
        if firewall:
            run(module, ["firewall-cmd", "--reload"], FIREWALL_NOT_RUNNING)
        for command in commands:
            run(module, command)
        if os.path.exists(module.params["pending"]):
            os.unlink(module.params["pending"])
    module.exit_json(changed=firewall or bool(commands))


def run(module: AnsibleModule, command: list[str], *also_good: int) -> None:
    """Run a command, or fail with what it said."""
    code, _, err = module.run_command(command)
    if code not in (0, *also_good):
        module.fail_json(msg=f"{' '.join(command)} answered {code}: {err.strip()}")


if __name__ == "__main__":
    main()
