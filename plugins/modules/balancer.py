#!/usr/bin/python
"""Wait until a load balancer has a node in or out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer
short_description: Wait until a load balancer has a node in or out
description:
  - Asks haproxy, on the host that it runs on, again and again until the node is in or out of all its backends.
  - Changes nothing. What a balancer does follows from what the node answers at C(/node/ready).
options:
  name:
    description: The node's name in the inventory.
    type: str
    required: true
  state:
    description: C(in) is ready for requests, C(out) is not, or not known to the balancer at all.
    type: str
    choices: [in, out]
    required: true
  idle:
    description: Wait besides until no connection from the balancer to the node is left.
    type: bool
    default: false
  timeout:
    description: Seconds until the wait has failed.
    type: int
    default: 60
  backends:
    description: haproxy's backends that count.
    type: list
    elements: str
    default: [panda_http, panda_https, panda_cache]
  socket:
    description: haproxy's admin socket.
    type: path
    default: /var/lib/haproxy/admin.sock
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Wait until the balancers have no connection to the node left
  panda.provision.balancer:
    name: "{{ inventory_hostname }}"
    state: out
    idle: true
    timeout: 300
  delegate_to: "{{ item }}"
  loop: "{{ groups['load_balancers'] }}"
"""

RETURN = r"""
seconds:
  description: How long it took.
  type: float
  returned: always
sessions:
  description: Connections from the balancer to the node that are left, those that wait for one included.
  type: int
  returned: success
states:
  description: Backend to what haproxy says of the node there.
  type: dict
  returned: success
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils import haproxy

PAUSE_SECONDS = 0.2
# Enough for a reload, in which the socket is handed on.
MISSING_SECONDS = 2


def unfinished(seen: dict[str, dict[str, Any]], wanted: dict[str, Any]) -> list[str]:
    """What is not yet as it should be."""
    found = []
    for backend in wanted["backends"]:
        server = seen.get(backend)
        is_in = server is not None and server["state"].startswith("UP")
        if is_in != (wanted["state"] == "in"):
            found.append(f"{backend}: {server['state'] if server else 'does not have it'}")
        if wanted["idle"] and server is not None and server["sessions"]:
            found.append(f"{backend}: {server['sessions']} connections left")
    return found


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["in", "out"], "required": True},
            "idle": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
            "backends": {"type": "list", "elements": "str", "default": list(haproxy.BACKENDS)},
            "socket": {"type": "path", "default": haproxy.SOCKET},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    began = answered = time.monotonic()
    while True:
        seen: dict[str, dict[str, Any]] = {}
        try:
            known = haproxy.servers(haproxy.ask(wanted["socket"])).get(wanted["name"], {})
            seen = {backend: server for backend, server in known.items() if backend in wanted["backends"]}
            answered = time.monotonic()
            left = unfinished(seen, wanted)
        except OSError as error:
            left = [f"haproxy does not answer at {wanted['socket']}: {error.strerror or error}"]
        seconds = round(time.monotonic() - began, 1)
        if not left:
            break
        silent = time.monotonic() - answered > MISSING_SECONDS
        if silent or seconds >= wanted["timeout"]:
            after = "" if silent else f" after {wanted['timeout']} s"
            condition = f"{wanted['state']}{' and idle' if wanted['idle'] else ''}"
            module.fail_json(
                msg=f"{wanted['name']} is not {condition} at this balancer{after}: {'; '.join(left)}", seconds=seconds
            )
        time.sleep(PAUSE_SECONDS)
    module.exit_json(
        changed=False,
        seconds=seconds,
        sessions=sum(server["sessions"] for server in seen.values()),
        states={backend: server["state"] for backend, server in seen.items()},
    )


if __name__ == "__main__":
    main()
