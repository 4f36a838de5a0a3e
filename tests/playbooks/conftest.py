"""What the statements about the playbooks themselves are made with."""

from __future__ import annotations

import os
from pathlib import Path


def surroundings(folder: Path, collections: Path) -> dict[str, str]:
    """The environment of an ansible-playbook that finds roles in a test's folder, and no setting of this machine."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(folder / "none.cfg"),
        "ANSIBLE_ROLES_PATH": str(folder / "roles"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_GATHERING": "explicit",
        # All hosts at once.
        "ANSIBLE_FORKS": "10",
    }
