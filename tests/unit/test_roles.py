"""What every role of this repository has in common, so that roles read alike.

That defaults, argument_specs and README agree is for `tools/role_docs.py check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import role_docs
import yaml

from .conftest import FACTS, Render

ROLES = role_docs.find_roles(role_docs.ROLES)
every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


@every_role
def test_main_is_a_table_of_contents_that_begins_with_preflight(role: Path) -> None:
    tasks = yaml.safe_load((role / "tasks" / "main.yml").read_text())
    assert [set(task) & {"ansible.builtin.import_tasks"} for task in tasks] == [{"ansible.builtin.import_tasks"}] * len(
        tasks
    )
    assert tasks[0]["ansible.builtin.import_tasks"] == "preflight.yml"


@every_role
def test_every_file_of_tasks_is_used(role: Path) -> None:
    """By main.yml, by another of them, or by a playbook as an entrance of its own."""
    files = [*(role / "tasks").glob("*.yml"), *(role_docs.ROLES.parent / "playbooks").rglob("*.yml")]
    texts = "".join(path.read_text() for path in files)
    used = set(re.findall(r"(?:import_tasks|tasks_from): (\S+\.yml)", texts))
    assert {path.name for path in (role / "tasks").glob("*.yml")} - {"main.yml"} <= used


@every_role
def test_every_tag_but_always_starts_with_the_name_of_the_role(role: Path) -> None:
    tasks = yaml.safe_load((role / "tasks" / "main.yml").read_text())
    tags = [tag for task in tasks for tag in task["tags"] if tag != "always"]
    assert tags
    assert all(tag.startswith(f"{role.name}_") for tag in tags), tags


@every_role
def test_public_variables_start_with_the_name_of_the_role(role: Path) -> None:
    names = role_docs.read_yaml(role / "defaults" / "main.yml")
    assert all(name.startswith(f"{role.name}_") for name in names), names


@every_role
def test_private_variables_start_with_two_underscores_and_the_name_of_the_role(role: Path) -> None:
    names = [name for file in (role / "vars").glob("*.yml") for name in role_docs.read_yaml(file)]
    assert all(name.startswith(f"__{role.name}_") for name in names), names


@every_role
def test_every_default_is_explained_where_it_stands(role: Path) -> None:
    """A comment stands above each variable, or above the group of variables that it begins."""
    blocks = (role / "defaults" / "main.yml").read_text().removeprefix("---").split("\n\n")
    unexplained = [block for block in blocks if block.strip() and not block.lstrip("\n").startswith("#")]
    assert unexplained == []


@pytest.mark.parametrize("name", ["panda_server", "squid", "load_balancer"])
def test_a_role_by_itself_installs_what_selinux_needs_where_it_is_enabled(render: Render, name: str) -> None:
    expression = f"{{{{ __{name}_all_packages }}}}"
    assert "policycoreutils-python-utils" in render(name, expression)
    assert "policycoreutils-python-utils" not in render(name, expression, os_family="Debian")


@pytest.mark.parametrize("name", ["panda_server", "squid", "load_balancer"])
def test_debian_with_selinux_is_left_alone(render: Render, name: str) -> None:
    """The types and booleans are those of EL's policy."""
    enabled = {**FACTS["Debian"], "selinux": {"status": "enabled"}}
    expression = f"{{{{ __{name}_selinux }}}}"
    assert render(name, expression, os_family="Debian", ansible_facts=enabled) is False
    assert render(name, expression) is True


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in what a YAML file holds: its plays, blocks and tasks."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from mappings(item)


def test_what_the_control_machine_does_for_a_node_needs_no_root_there() -> None:
    """With -b it would ask for one: become is meant for the nodes."""
    roots = (role_docs.ROLES, role_docs.ROLES.parent / "playbooks")
    files = {path: yaml.safe_load(path.read_text()) for root in roots for path in root.rglob("*.yml")}
    local = [
        (str(path.relative_to(role_docs.ROLES.parent)), task["name"], task.get("become"))
        for path, tasks in files.items()
        for task in mappings(tasks)
        if task.get("delegate_to") == "localhost"
    ]
    assert local
    assert [task for task in local if task[2] is not False] == []
