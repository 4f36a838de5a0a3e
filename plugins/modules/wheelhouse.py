#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheelhouse
short_description: Build the wheelhouse of a release on the control machine
description:
  - Builds the application and fetches all it needs, locked by hash, for the Python of the nodes; or
    checks an archive that was built elsewhere.
  - Works on the control machine only and changes nothing on a node. Unchanged content is not built again.
options:
  archive:
    description: A wheelhouse archive to use in place of building one; C(<archive>.sha256) stands beside it.
    type: path
    default: ""
  requirement:
    description:
      - The public package that the release is made of, as C(panda-server[postgres]==1.0.4); the application is then
        installed beside it. Without it a release is the application alone.
      - A branch or a tag of a git reference is looked up once in each run of a playbook, for all its nodes.
    type: str
    default: ""
  follow:
    description:
      - Without it nothing is looked up or built for a I(requirement) with a branch or a tag, and the task is skipped,
        for a node that keeps its release.
    type: bool
    default: true
  app:
    description: Folder of the application to build; without it the repository's own.
    type: path
  cache:
    description: Folder on the control machine that keeps what was built; without it the repository's .cache.
    type: path
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Build the wheelhouse
  panda.provision.wheelhouse:
  run_once: true
  register: wheelhouse
"""

RETURN = r"""
name: {description: Name of the release., type: str, returned: success}
archive: {description: Path of the archive on the control machine., type: str, returned: success}
checksum: {description: SHA-256 of the archive., type: str, returned: success}
requirement:
  description: The public package that it was made of, a git reference with its commit; empty for the application alone.
  type: str
  returned: success
"""
