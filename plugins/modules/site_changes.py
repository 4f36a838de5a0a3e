#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_changes
short_description: See what a playbook would change
description:
  - Runs a playbook with C(--check) on the control machine, with the inventory, the variables and the connection of the
    running one, and returns what it would change. That is the playbook's own word, not a second opinion.
  - Names tasks, paths, units and packages and shows no content; of a task with C(no_log) nothing but its name and
    its tags.
  - Does not fail. Why it cannot be told is returned as C(trouble).
options:
  playbook: {description: The playbook., type: path, required: true}
  findings:
    description: What M(panda.provision.node_report) returned, by host. Hosts with C(trouble), and those that were
      offboarded, are left out.
    type: dict
    required: true
  seconds: {description: Seconds until the run is given up., type: int, default: 600}
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: See what site.yml would change
  panda.provision.site_changes:
    playbook: site.yml
    findings: "{{ health_findings }}"
  run_once: true
  register: health_changes
"""

RETURN = r"""
changes:
  description: Host to a list of C(task), C(tags), C(handler), C(state), C(items), C(faults) and C(message).
  type: dict
  returned: always
trouble: {description: Why it cannot be told; empty where it can., type: str, returned: always}
"""
