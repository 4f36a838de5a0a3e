#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_report
short_description: Judge what was seen of the nodes and report it
description:
  - Writes C(health.json) and C(health.html) on the control machine, each in one step, and shows a table.
  - Does not fail. C(faults) says what is wrong with which node.
options:
  findings: {description: "What M(panda.provision.node_report) returned, by host.", type: dict, required: true}
  changes:
    description: What M(panda.provision.site_changes) returned; empty where drift was not looked at.
    type: dict
    default: {}
  balancers:
    description: What M(panda.provision.balancer_report) returned in a loop over the load balancers.
    type: list
    elements: dict
    default: []
  folder: {description: Folder on the control machine for the two files., type: path, required: true}
  certificate_days: {description: Days left from which a certificate is sound., type: int, default: 30}
  clock_seconds: {description: Seconds that a clock may be off., type: float, default: 2.0}
  disk_percent: {description: Share of a disk or its inodes from which it is a fault., type: int, default: 90}
  restarts: {description: Restarts from which a unit flaps., type: int, default: 3}
  ntp: {description: Whether NTP has to keep the clock., type: bool, default: true}
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Write the report
  panda.provision.health_report:
    findings: "{{ health_findings }}"
    folder: /var/lib/node-health
  run_once: true
  register: health_report
"""

RETURN = r"""
sound: {description: Whether there is no fault., type: bool, returned: always}
headline: {description: How it stands in one line., type: str, returned: always}
remarks: {description: What could not be looked at., type: list, elements: str, returned: always}
faults: {description: "Faults by host, a line each.", type: dict, returned: always}
json: {description: Path of the JSON file., type: str, returned: always}
page: {description: Path of the page., type: str, returned: always}
"""
