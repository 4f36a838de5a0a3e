#!/usr/bin/python
"""Tell whether a node is alive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Verify that a node is alive
description:
  - Asks systemd for units, fetches URLs from the node itself, and compares the certificate that is
    served with the one on disk. All of it is repeated until it is well or I(timeout) is over.
  - Fails with everything that is not well, and the last lines of the journal of each unit that is not.
  - Changes nothing.
options:
  units:
    description: systemd units that have to be active.
    type: list
    elements: str
    default: []
  urls:
    description: URLs that have to answer. The certificate of an https URL is judged by I(certificates), not here.
    type: list
    elements: dict
    default: []
    suboptions:
      url: {description: The URL., type: str, required: true}
      status: {description: Status code to expect., type: int, default: 200}
      body: {description: Regular expression that the body has to match somewhere., type: str, default: ""}
  certificates:
    description: Ports of this host with the file of the certificate that each has to serve.
    type: list
    elements: dict
    default: []
    suboptions:
      port: {description: TCP port., type: int, required: true}
      path: {description: File in PEM form; its first certificate counts., type: path, required: true}
      chain: {description: File with the authorities above it., type: path}
      unit:
        description: >-
          Unit that has to have been started or reloaded after I(path) and I(chain) were last changed. A client cannot
          see all of a chain, so what was read is told by the time.
        type: str
  timeout:
    description: Seconds until the verdict is final.
    type: int
    default: 60
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Verify that the node is alive
  panda.provision.health:
    units: [panda.service, panda_httpd.service]
    urls:
      - {url: "http://127.0.0.1:25080/server/panda/isAlive", body: alive=yes}
"""

RETURN = r"""
seconds:
  description: How long it took until all was well.
  type: float
  returned: always
"""

import http.client
import re
import shutil
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.asking import fetch
from ansible_collections.panda.provision.plugins.module_utils.node import RUNNING
from ansible_collections.panda.provision.plugins.module_utils.served import certificate_fault

PAUSE_SECONDS = 0.3
JOURNAL_LINES = "15"


def unit_faults(module: AnsibleModule, units: list[str]) -> dict[str, str]:
    """Units that are not active, with what systemd says of them; under no name where it cannot be asked."""
    if not units:
        return {}
    if shutil.which("systemctl") is None:
        return {"": "systemctl is not installed here, so no unit can be asked for: is this a host with systemd?"}
    _, out, err = module.run_command(["systemctl", "is-active", *units])
    states = out.split()
    if len(states) != len(units):
        return {"": f"systemctl does not answer: {err.strip()}"}
    return {unit: f"{unit} is {state}" for unit, state in zip(units, states) if state not in RUNNING}


def url_fault(wanted: dict[str, Any]) -> str:
    """What is wrong with the answer of a URL; an empty string where nothing is."""
    try:
        status, body = fetch(wanted["url"])
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{wanted['url']} does not answer: {getattr(error, 'reason', error)}"
    if status != wanted["status"]:
        return f"{wanted['url']} answers {status}, not {wanted['status']}: {body[:200].strip()}"
    if not re.search(wanted["body"], body):
        return f"{wanted['url']} answers {body[:200].strip()!r}, in which {wanted['body']!r} is missing"
    return ""


def journal(module: AnsibleModule, unit: str) -> str:
    """The last lines a unit wrote."""
    _, out, _ = module.run_command(
        ["journalctl", "--no-pager", "--output=cat", f"--lines={JOURNAL_LINES}", f"--unit={unit}"]
    )
    return f"journal of {unit}:\n{out.rstrip()}"


def main() -> None:
    """Run as an Ansible module."""
    url_options = {
        "url": {"type": "str", "required": True},
        "status": {"type": "int", "default": 200},
        "body": {"type": "str", "default": ""},
    }
    certificate_options = {
        "port": {"type": "int", "required": True},
        "path": {"type": "path", "required": True},
        "chain": {"type": "path"},
        "unit": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "urls": {"type": "list", "elements": "dict", "default": [], "options": url_options},
            "certificates": {"type": "list", "elements": "dict", "default": [], "options": certificate_options},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    start = time.monotonic()
    while True:
        units = unit_faults(module, module.params["units"])
        answers = [url_fault(wanted) for wanted in module.params["urls"]]
        answers += [certificate_fault(module, wanted) for wanted in module.params["certificates"]]
        faults = [*units.values(), *filter(None, answers)]
        seconds = round(time.monotonic() - start, 1)
        if not faults:
            module.exit_json(changed=False, seconds=seconds)
        if seconds >= module.params["timeout"]:
            lines = [f"not alive after {seconds} s:", *faults, *(journal(module, unit) for unit in units if unit)]
            module.fail_json(msg="\n".join(lines), faults=faults, seconds=seconds)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
