#!/usr/bin/python
"""Say which nodes a load balancer has, and whether they get requests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_report
short_description: Say which nodes a load balancer has, and whether they get requests
description:
  - Asks haproxy once, on the host that it runs on. What of the answer is a fault is judged on the control machine.
  - Changes nothing, and does not fail. Why a balancer cannot be asked is an answer too.
options:
  socket:
    description: haproxy's admin socket.
    type: path
    default: /var/lib/haproxy/admin.sock
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Ask the balancers for the nodes
  panda.provision.balancer_report:
  delegate_to: "{{ item }}"
  loop: "{{ groups['load_balancers'] }}"
  register: health_balancers
"""

RETURN = r"""
nodes:
  description: Node to backend to what haproxy says of it there, C(UP), C(DOWN), C(MAINT) and the like.
  type: dict
  returned: always
trouble:
  description: Why it cannot be told; empty where it can.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils import haproxy


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"socket": {"type": "path", "default": haproxy.SOCKET}}, supports_check_mode=True
    )
    path = module.params["socket"]
    try:
        seen = haproxy.servers(haproxy.ask(path))
    except OSError as error:
        module.fail_json(msg=f"haproxy does not answer at {path}: {error.strerror or error}")
    nodes = {name: {backend: server["state"] for backend, server in known.items()} for name, known in seen.items()}
    module.exit_json(changed=False, nodes=nodes)


if __name__ == "__main__":
    main()
