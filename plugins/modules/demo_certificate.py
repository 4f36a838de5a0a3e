#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: demo_certificate
short_description: A host certificate of a certificate authority made for trials
description:
  - Keeps a certificate authority in a folder on the control machine and signs host certificates with it.
  - For demonstrations and tests. Never trust this authority in production.
  - Works on the control machine only and changes nothing on a node.
options:
  folder: {description: Folder on the control machine., type: path, required: true}
  host: {description: Inventory name of the host., type: str, required: true}
  names:
    description: Host names and addresses that the certificate is valid for; the first is its common name.
    type: list
    elements: str
    required: true
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Sign a host certificate
  panda.provision.demo_certificate:
    folder: "{{ inventory_dir }}/../../.cache/demo"
    host: "{{ inventory_hostname }}"
    names: [pandaserver.cern.ch, "{{ inventory_hostname }}"]
  register: certificate
  no_log: true
"""

RETURN = r"""
certificate: {description: Certificate in PEM form., type: str, returned: success}
key: {description: Its private key in PEM form., type: str, returned: success}
ca: {description: The authority's certificate in PEM form., type: str, returned: success}
"""
