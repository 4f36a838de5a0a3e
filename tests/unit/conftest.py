"""Renders role templates as Ansible does: its own engine, the role's defaults and vars, a node's facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[2]

init_plugin_loader([str(ROOT / "collections"), str(ROOT / ".cache" / "collections")])

# What a node of each OS family says of itself, as far as roles read it.
FACTS: dict[str, dict[str, Any]] = {
    "RedHat": {
        "os_family": "RedHat",
        "distribution": "AlmaLinux",
        "distribution_version": "9.6",
        "distribution_major_version": "9",
        "pkg_mgr": "dnf",
        "selinux": {"status": "enabled", "mode": "enforcing", "type": "targeted"},
    },
    "Debian": {
        "os_family": "Debian",
        "distribution": "Debian",
        "distribution_version": "12.11",
        "distribution_major_version": "12",
        "pkg_mgr": "apt",
        "selinux": {"status": "disabled"},
    },
}
COMMON_FACTS: dict[str, Any] = {
    "architecture": "x86_64",
    "domain": "example.org",
    "fqdn": "atlas-pandaserver-09.example.org",
    "hostname": "atlas-pandaserver-09",
    "memtotal_mb": 7821,
    "nodename": "atlas-pandaserver-09",
    "processor_vcpus": 4,
    "service_mgr": "systemd",
    "system": "Linux",
}


class Render(Protocol):
    """Renders a template of a role, or any expression that starts with `{{`."""

    def __call__(
        self,
        role: str,
        template: str,
        *,
        os_family: str = "RedHat",
        host: str = "atlas-pandaserver-09",
        **variables: Any,
    ) -> Any: ...


class Renderer:
    """Renders with the variables that a host of the production inventory has in a play of all roles."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loader = DataLoader()
        self.loader.set_basedir(str(root))
        inventories = [str(path) for path in [root / "inventories" / "production"] if path.exists()]
        self.inventory = InventoryManager(loader=self.loader, sources=inventories or None)
        self.variable_manager = VariableManager(loader=self.loader, inventory=self.inventory)

    def read(self, path: Path) -> dict[str, Any]:
        """Return the variables of a file, their expressions trusted as Ansible trusts a role's; empty if absent."""
        return dict(self.loader.load_from_file(str(path), trusted_as_template=True) or {}) if path.is_file() else {}

    def variables(self, role: str, os_family: str, host: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return all variables, in Ansible's order of precedence."""
        found: dict[str, Any] = {}
        for other in sorted((self.root / "roles").iterdir()):
            found |= self.read(other / "defaults" / "main.yml")
        if (known := self.inventory.get_host(host)) is not None:
            found |= self.variable_manager.get_vars(host=known)
        found["ansible_facts"] = COMMON_FACTS | FACTS[os_family]
        for name in ("main", os_family.lower()):
            found |= self.read(self.root / "roles" / role / "vars" / f"{name}.yml")
        found |= {"role_name": role, "role_path": str(self.root / "roles" / role)}
        found |= {name: trusted(value) for name, value in overrides.items()}
        return found | {"ansible_search_path": [found["role_path"]]}

    def __call__(
        self,
        role: str,
        template: str,
        *,
        os_family: str = "RedHat",
        host: str = "atlas-pandaserver-09",
        **variables: Any,
    ) -> Any:
        """Return the text that the template lookup makes, or what an expression evaluates to."""
        if not template.startswith("{{"):
            template = f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}"
        templar = Templar(self.loader, self.variables(role, os_family, host, variables))
        return templar.template(trust_as_template(template))


def trusted(value: Any) -> Any:
    """Return a value whose strings may be expressions, as if it stood in group_vars."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, Mapping):
        return {name: trusted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return value


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """Return the renderer of this repository's roles."""
    return Renderer(ROOT)


@pytest.fixture
def render(renderer: Renderer) -> Render:
    """Return `render(role, template, os_family=..., **variables)`."""
    return renderer
