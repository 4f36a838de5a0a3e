#!/usr/bin/python
"""Take a node out of service and bring it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state
short_description: Take a node out of service and bring it back
description:
  - A node that is C(drained) says so at C(/node/ready), where load balancers look, and ends its clients'
    connections with their next answer. It goes on answering all that is asked.
  - Who drained the node, when, and which drain files were made for it is kept in I(record) until the node is back.
  - Only what was drained is brought back. A node in C(maintenance), or drained by somebody else, stays as it is, and so
    do its record and its drain files.
  - An interrupted run is completed by the next one.
options:
  state:
    description: C(drained) takes the node out of service, C(in_service) brings it back.
    type: str
    choices: [drained, in_service]
    required: true
  by:
    description: Who drains. For C(in_service), whose drain may be ended.
    type: list
    elements: str
    required: true
  files:
    description: Files that a load balancer of the site's own looks at; made while the node is drained.
    type: list
    elements: path
    default: []
  state_file:
    description: The node's state in one word, C(production), C(draining) or C(maintenance).
    type: path
    default: /etc/panda/node_state
  record:
    description: The record of the drain. httpd looks whether it is there.
    type: path
    default: /etc/panda/drain.json
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Take the node out of service
  panda.provision.node_state:
    state: drained
    by: [upgrade]
    files: [/etc/iss.nologin]

- name: Bring the node back
  panda.provision.node_state:
    state: in_service
    by: [upgrade, rollback]
"""

RETURN = r"""
was:
  description: The node's state before.
  type: str
  returned: always
ours:
  description: Whether the node is drained, or was until now, by one of I(by).
  type: bool
  returned: always
seconds:
  description: How long the node has been drained.
  type: int
  returned: always
drained_by:
  description: Who holds the node drained; empty where nobody does.
  type: str
  returned: always
in_service:
  description: Whether nothing keeps the node out of service, neither its state nor a record of a drain.
  type: bool
  returned: always
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.files import replace

STATES = ("production", "draining", "maintenance")


class NodeState:
    """The state of this node."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.by: list[str] = module.params["by"]
        self.state_file = Path(module.params["state_file"])
        self.record_file = Path(module.params["record"])
        self.was = self.read_state()
        self.record = self.read_record()

    def read_state(self) -> str:
        try:
            state = self.state_file.read_text().strip()
        except FileNotFoundError:
            self.module.fail_json(msg=f"{self.state_file}: no such file; provision the node first, with site.yml")
        if state not in STATES:
            self.module.fail_json(
                msg=f"{self.state_file}: holds {state!r}; write one of {', '.join(STATES)} there, then run again"
            )
        return str(state)

    def read_record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self.record_file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            self.module.fail_json(
                msg=f"{self.record_file}: is damaged; remove it, and write production or maintenance to "
                f"{self.state_file}"
            )
        return record

    def ours(self) -> bool:
        return self.record.get("by") in self.by

    def drain(self) -> bool:
        # A node that somebody else holds out of service is theirs to bring back.
        theirs = not self.ours() if self.record else self.was == "draining"
        if theirs or self.was == "maintenance":
            return False
        missing = [path for path in self.module.params["files"] if not os.path.lexists(path)]
        if self.was == "draining" and not missing:
            return False
        made = sorted({*self.record.get("files", []), *missing})
        self.record = {"since": int(time.time()), "by": self.by[0], **self.record, "files": made}
        if not self.module.check_mode:
            # The record first: what it does not name is never undone.
            replace(self.record_file, json.dumps(self.record, indent=2, sort_keys=True) + "\n")
            for path in missing:
                Path(path).touch(mode=0o644)
            replace(self.state_file, "draining\n")
        return True

    def bring_back(self) -> bool:
        # A balancer of the site's own knows of maintenance by the drain files alone.
        if not self.ours() or self.was == "maintenance":
            return False
        if not self.module.check_mode:
            replace(self.state_file, "production\n")
            for path in self.record.get("files", []):
                if os.path.lexists(path):
                    os.unlink(path)
            # The record last: until then the next run goes on here.
            self.record_file.unlink()
        return True


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["drained", "in_service"], "required": True},
            "by": {"type": "list", "elements": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "state_file": {"type": "path", "default": "/etc/panda/node_state"},
            "record": {"type": "path", "default": "/etc/panda/drain.json"},
        },
        supports_check_mode=True,
    )
    state = NodeState(module)
    try:
        drain = module.params["state"] == "drained"
        changed = state.drain() if drain else state.bring_back()
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    back = changed and not drain
    in_service = back or (not drain and state.was == "production" and not state.record)
    holder = "" if back else state.record.get("by", "")
    seconds = max(int(time.time()) - state.record.get("since", int(time.time())), 0)
    module.exit_json(
        changed=changed,
        was=state.was,
        ours=state.ours(),
        drained_by=holder,
        in_service=in_service,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
