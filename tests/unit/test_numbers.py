"""A number that is given as a text, as `-e panda_server_dbtimeout=55` gives it, renders what the number renders."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from .conftest import ROOT, Render

NODE = {
    "globs": {"/etc/grid-security/certificates/*.0": []},
    "paths": {"/usr/lib64/httpd/modules/mod_systemd.so": ""},
    "units": {},
    "links": {},
}
# What the roles have found out by the time they render.
FOUND: dict[str, Any] = {
    "panda_preflight": {"node": NODE},
    "__squid_siblings": [{"name": "atlas-pandaserver-08", "addresses": ["192.0.2.8"]}],
    "__load_balancer_nodes": [{"name": "atlas-pandaserver-09", "addresses": ["192.0.2.9"]}],
}
TEMPLATES = sorted(ROOT.glob("roles/*/templates/*.j2"))


def numbers(role: str) -> dict[str, int]:
    """The defaults of a role that are written as a number."""
    defaults: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    return {name: default for name, default in defaults.items() if type(default) is int}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
@pytest.mark.parametrize("enabled", [False, True], ids=["as it comes", "JEDI and MCP"])
def test_a_number_may_be_a_text(render: Render, template: Any, enabled: bool) -> None:
    role = template.parents[1].name
    given = FOUND | {"panda_server_jedi_enabled": enabled, "panda_server_mcp_enabled": enabled}
    given |= {"panda_server_backend": "postgres"} if enabled else {}
    texts = {name: str(number) for name, number in numbers(role).items()}
    assert texts
    assert render(role, template.name, **given | texts) == render(role, template.name, **given)
