"""Print the settings that switch on mitogen, the optional accelerator of Ansible.

    eval "$(.venv/bin/python tools/accelerator.py)"

It executes modules in one lasting Python process on the node instead of a new one each. It trails
each release of ansible-core, so nothing here requires it.
"""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path


def environment() -> dict[str, str]:
    """Return the environment variables under which Ansible uses mitogen."""
    spec = find_spec("ansible_mitogen")
    if spec is None or spec.origin is None:
        raise SystemExit("accelerator: mitogen is not installed; run make venv")
    plugins = Path(spec.origin).parent / "plugins" / "strategy"
    return {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(plugins),
        # A strategy from outside ansible-core is deprecated there; that is known and said above.
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }


if __name__ == "__main__":
    for name, value in environment().items():
        print(f"export {name}={shlex.quote(value)}")
