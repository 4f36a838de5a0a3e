#!/usr/bin/python
"""Look at a node before it is changed. The action plugin of the same name asks and judges."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Refuse bad input before anything on a node is changed
description:
  - Validates the variables of the named roles against their argument specifications, looks at the node
    once, and applies each role's own checks.
  - Fails with all faults in one report, or returns what it saw of the node.
  - Sets the few facts that the roles use, so that no C(setup) is needed.
  - Changes nothing, and therefore runs under C(--check) too.
options:
  roles:
    description: Names of the roles that are about to be applied.
    type: list
    elements: str
    required: true
  only:
    description: What alone is judged of the node, for a play that touches nothing else. Variables are judged too.
    type: str
    choices: [certificates]
  look:
    description: What to look at on the node; the action plugin collects it from the roles' checks.
    type: dict
    options:
      paths: {description: Paths to tell the kind of., type: list, elements: path, default: []}
      texts: {description: "Files to read; patterns are expanded.", type: list, elements: path, default: []}
      globs: {description: Patterns to expand., type: list, elements: path, default: []}
      connect: {description: "C(host:port) to open a TCP connection to.", type: list, elements: str, default: []}
      key_pairs: {description: Certificate and key that belong together., type: list, elements: list, default: []}
      units: {description: systemd units to ask the state of., type: list, elements: str, default: []}
      starting: {description: Units to ask whether they run or start at boot., type: list, elements: str, default: []}
      accounts: {description: Accounts to describe., type: list, elements: str, default: []}
      packages: {description: Packages to ask for., type: list, elements: str, default: []}
      records: {description: JSON files to read., type: list, elements: path, default: []}
      served:
        description: >-
          Certificates that a unit serves, to compare with what it has read; C(port), C(path), C(chain) and C(unit).
        type: list
        elements: dict
        default: []
      owners: {description: "Paths to tell owner, group and mode.", type: list, elements: path, default: []}
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Refuse bad input before anything is changed
  panda.provision.preflight:
    roles: [panda_server, squid, logrotate]
  register: panda_preflight
"""

RETURN = r"""
roles: {description: The roles that were checked., type: list, elements: str, returned: success}
missing_packages:
  description: Packages of all these roles that are not installed.
  type: list
  elements: str
  returned: success
node:
  description: >-
    What was seen: os, machine, time, systemd, listeners, paths, links, globs, texts, connections, key_pairs,
    units, what is starting, puppet, records, accounts, owners, served certificates, and the packages that are
    installed.
  type: dict
  returned: success
"""

import glob
import grp
import os
import pwd
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.node import (
    connect,
    key_pair,
    listeners,
    puppet,
    read_text,
    record,
    starting,
    unit_states,
)
from ansible_collections.panda.provision.plugins.module_utils.served import certificate_fault


def os_release() -> dict[str, str]:
    """The node's /etc/os-release."""
    with open("/etc/os-release") as file:
        pairs = (line.strip().split("=", 1) for line in file if "=" in line)
        return {key: value.strip("\"'") for key, value in pairs}


def facts(release: dict[str, str], selinux: bool) -> dict[str, Any]:
    """The facts that the roles use, under the names and with the values that C(setup) gives them."""
    family = "RedHat" if "rhel" in release.get("ID_LIKE", "").split() or release.get("ID") == "rhel" else "Debian"
    return {
        "os_family": family,
        "distribution_major_version": release.get("VERSION_ID", "").split(".")[0],
        "selinux": {"status": "enabled" if selinux else "disabled"},
    }


def kind(path: str) -> str:
    """What stands at a path: link, directory, file, or an empty string."""
    if os.path.islink(path):
        return "link"
    if os.path.isdir(path):
        return "directory"
    return "file" if os.path.exists(path) else ""


def ownership(path: str) -> str:
    """Owner, group and mode of a path itself, as C(atlpan:zp 0700); an empty string where nothing is."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return ""
    return (
        f"{name_of(pwd.getpwuid, status.st_uid)}:{name_of(grp.getgrgid, status.st_gid)} {status.st_mode & 0o7777:04o}"
    )


def name_of(look_up: Callable[[int], tuple[Any, ...]], number: int) -> str:
    """The name of an account or group; its number where it has none."""
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def account(name: str) -> dict[str, str]:
    """An account's primary group, by number where it has no name; nothing where there is no such account."""
    try:
        number = pwd.getpwnam(name).pw_gid
    except KeyError:
        return {}
    return {"group": name_of(grp.getgrgid, number)}


def installed(module: AnsibleModule, packages: list[str]) -> list[str]:
    """Those of the packages that are installed."""
    if not packages:
        return []
    # Marked, because both also say which packages they do not know.
    if os.path.exists("/usr/bin/dpkg-query"):
        command = ["dpkg-query", "--show", "--showformat=+${Package} ${db:Status-Status}\\n", *packages]
    else:
        command = ["rpm", "--query", "--queryformat=+%{NAME} installed\\n", *packages]
    _, out, _ = module.run_command(command)
    return sorted(line[1:].split()[0] for line in out.splitlines() if line[:1] == "+" and line.endswith(" installed"))


def served(module: AnsibleModule, wanted: dict[str, Any], listening: list[dict[str, Any]]) -> str:
    """What is wrong with the certificate that a unit serves; an empty string where nothing is, or it serves none."""
    if not any((item["port"], item["unit"]) == (wanted["port"], wanted["unit"]) for item in listening):
        return ""
    return certificate_fault(module, wanted)


def main() -> None:
    """Run as an Ansible module."""
    lists = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "roles": {"type": "list", "elements": "str", "required": True},
            "look": {
                "type": "dict",
                "default": {},
                "options": {
                    "paths": lists,
                    "texts": lists,
                    "globs": lists,
                    "connect": lists,
                    "key_pairs": {"type": "list", "elements": "list", "default": []},
                    "units": lists,
                    "starting": lists,
                    "accounts": lists,
                    "packages": lists,
                    "records": lists,
                    "served": {"type": "list", "elements": "dict", "default": []},
                    "owners": lists,
                },
            },
        },
        supports_check_mode=True,
    )
    look = module.params["look"]
    text_paths = sorted({path for pattern in look.get("texts", []) for path in glob.glob(pattern)})
    systemd = os.path.isdir("/run/systemd/system")
    release, selinux = os_release(), os.path.exists("/sys/fs/selinux/enforce")
    listening = listeners()
    module.exit_json(
        changed=False,
        ansible_facts=facts(release, selinux),
        roles=module.params["roles"],
        node={
            "os": release,
            "machine": os.uname().machine,
            "time": time.time(),
            "systemd": systemd,
            "listeners": listening,
            "paths": {path: kind(path) for path in look.get("paths", [])},
            "globs": {pattern: sorted(glob.glob(pattern)) for pattern in look.get("globs", [])},
            "texts": {path: read_text(path) for path in text_paths if os.path.isfile(path)},
            "links": {path: os.readlink(path) for path in look.get("paths", []) if os.path.islink(path)},
            "connections": {address: connect(address) for address in look.get("connect", [])},
            "key_pairs": {certificate: key_pair(certificate, key) for certificate, key in look.get("key_pairs", [])},
            "units": unit_states(module, look["units"]) if systemd and look.get("units") else {},
            "starting": starting(module, look["starting"]) if systemd and look.get("starting") else {},
            "puppet": puppet(module) if systemd else [],
            "accounts": {name: account(name) for name in look.get("accounts", [])},
            "packages": installed(module, look.get("packages", [])),
            "records": {path: record(path) for path in look.get("records", [])},
            "served": {wanted["path"]: served(module, wanted, listening) for wanted in look.get("served", [])},
            "owners": {path: ownership(path) for path in look.get("owners", [])},
        },
    )


if __name__ == "__main__":
    main()
