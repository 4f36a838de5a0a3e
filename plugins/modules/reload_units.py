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
    reload: [squid.service, firewalld.service]
    pending: /run/panda-provision/squid
"""

import os

from ansible.module_utils.basic import AnsibleModule

# Of systemctl: both leave a unit alone that is not running.
VERBS = {"reload": "try-reload-or-restart", "restart": "try-restart"}


def main() -> None:
    """Run as an Ansible module."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={**dict.fromkeys(VERBS, names), "pending": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    if not module.check_mode:
        for option, verb in VERBS.items():
            units = module.params[option]
            if units:
                code, _, err = module.run_command(["systemctl", verb, *units])
                if code != 0:
                    module.fail_json(msg=f"systemctl {verb} {' '.join(units)} answered {code}: {err.strip()}")
        if os.path.exists(module.params["pending"]):
            os.unlink(module.params["pending"])
    module.exit_json(changed=any(module.params[option] for option in VERBS))


if __name__ == "__main__":
    main()
