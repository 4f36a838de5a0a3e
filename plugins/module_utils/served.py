"""Whether a service serves the certificate that its files hold."""

from __future__ import annotations

import os
import re
import ssl
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.asking import served_certificate
from ansible_collections.panda.provision.plugins.module_utils.node import unit_properties


def certificate_fault(module: AnsibleModule, wanted: dict[str, Any]) -> str:
    """Whether a port serves another certificate, or another chain, than the files hold.

    `wanted` has `port`, `path` of the certificate, and where the chain is asked for, `chain` and the `unit` that reads
    both.
    """
    try:
        with open(wanted["path"]) as file:
            blocks = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", file.read(), re.DOTALL)
    except OSError as error:
        return f"{wanted['path']}: {error.strerror}"
    try:
        served = served_certificate(wanted["port"])
    except OSError as error:
        return f"port {wanted['port']} does not serve TLS: {error}"
    if not blocks or ssl.PEM_cert_to_DER_cert(blocks[0]) != ssl.PEM_cert_to_DER_cert(served):
        return f"port {wanted['port']} serves another certificate than {wanted['path']} holds: reload the service"
    if not wanted["unit"]:
        return ""
    return unread_fault(module, wanted["unit"], [path for path in (wanted["path"], wanted["chain"]) if path])


def unread_fault(module: AnsibleModule, unit: str, paths: list[str]) -> str:
    """Which file has changed since a unit was started or reloaded; an empty string where none has."""
    told = unit_properties(module, [unit], ("LoadState", "StateChangeTimestampMonotonic"))
    since = time.monotonic() - int(told.get(unit, {}).get("StateChangeTimestampMonotonic") or 0) / 1e6
    for path in paths:
        try:
            # Of the inode, for a copy may keep the time of its text; and of the link that was led to another file.
            changed = max(os.stat(path).st_ctime, os.lstat(path).st_ctime)
        except OSError as error:
            return f"{path}: {error.strerror}"
        if time.time() - changed < since:
            return f"{path} was changed after {unit} has read it: reload the service"
    return ""
