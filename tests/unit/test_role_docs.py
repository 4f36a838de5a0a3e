"""tools/role_docs.py keeps defaults, argument specs and READMEs of roles the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import role_docs

GOOD_DEFAULTS = """\
web_port: 80
web_name: "{{ inventory_hostname }}"
web_log_level: info
web_peers: []
"""
GOOD_OPTIONS = """\
      web_port:
        type: int
        default: 80
        description: TCP port.
      web_name:
        description: Name of the site.
        default: "{{ inventory_hostname }}"
      web_log_level:
        description: How much is logged.
        choices: [info, debug]
        default: info
      web_peers:
        type: list
        elements: dict
        default: []
        description: Nodes | to ask, <name>.
        options:
          address:
            required: true
            description: Where the peer is.
      web_secret:
        required: true
        description: Password.
"""

MakeRole = Callable[..., Path]


@pytest.fixture
def make_role(tmp_path: Path) -> MakeRole:
    """Return a function that writes a role named web and returns its directory."""

    def make(defaults: str = GOOD_DEFAULTS, options: str = GOOD_OPTIONS) -> Path:
        role = tmp_path / "web"
        for directory in ("defaults", "meta", "tasks"):
            (role / directory).mkdir(parents=True)
        (role / "defaults" / "main.yml").write_text(defaults)
        (role / "meta" / "argument_specs.yml").write_text(
            "argument_specs:\n  main:\n    short_description: A web server.\n"
            "    description:\n      - Serves.\n      - Well.\n    options:\n" + options
        )
        return role

    return make


def test_a_role_whose_files_agree_has_no_fault(make_role: MakeRole) -> None:
    assert list(role_docs.interface_faults(make_role())) == []


@pytest.mark.parametrize(
    ("replace", "by", "fault"),
    [
        ("web_port: 80\n", "web_port: 81\n", "web_port is 81 in defaults/main.yml and 80 in meta"),
        ("web_port: 80\n", "web_port: '80'\n", "web_port has the default '80', which is not of its type int"),
        ("web_port: 80\n", "web_port: true\n", "web_port has the default True, which is not of its type int"),
        ("web_port: 80\n", "", "web_port is optional and not in defaults/main.yml"),
        ("web_peers: []", "web_peers: []\nweb_new: 1", "web_new has a default but is not in meta"),
        ("web_peers: []", "web_peers: []\nweb_secret: x", "web_secret is required and has a default"),
        ("web_log_level: info", "web_log_level: loud", "not among its choices ['info', 'debug']"),
        ("{{ inventory_hostname }}", "{{ ansible_host }}", "web_name is '{{ ansible_host }}' in defaults/main.yml"),
    ],
)
def test_a_disagreeing_default_is_named(make_role: MakeRole, replace: str, by: str, fault: str) -> None:
    role = make_role(defaults=GOOD_DEFAULTS.replace(replace, by))
    faults = list(role_docs.interface_faults(role))
    assert any(fault in found for found in faults), faults
    assert all(found.startswith("web: ") for found in faults)


@pytest.mark.parametrize(
    ("replace", "by", "fault"),
    [
        ("        description: TCP port.\n", "", "web_port has no description"),
        ("        default: 80\n", "", "web_port has a default that meta/argument_specs.yml does not state"),
        ("type: int", "type: integer", "web_port has the unknown type 'integer'"),
    ],
)
def test_an_incomplete_option_is_named(make_role: MakeRole, replace: str, by: str, fault: str) -> None:
    role = make_role(options=GOOD_OPTIONS.replace(replace, by))
    assert any(fault in found for found in role_docs.interface_faults(role))


def test_a_role_without_options_is_a_fault(make_role: MakeRole) -> None:
    assert "has no options" in next(role_docs.interface_faults(make_role(defaults="", options="      {}\n")))


def test_the_readme_shows_every_variable(make_role: MakeRole) -> None:
    text = role_docs.current_readme(make_role())
    assert "| `web_port` | int | `80` | TCP port. |" in text
    assert "| `web_log_level` | str | `info` | How much is logged. One of `info`, `debug`. |" in text
    assert "| `web_peers` | list of dict | `[]` | Nodes \\| to ask, &lt;name>. |" in text
    assert "| `web_peers[].address` | str | **required** | Where the peer is. |" in text
    assert "Serves.\n\nWell.\n" in text


def test_text_outside_the_markers_is_kept(make_role: MakeRole) -> None:
    role = make_role()
    (role / "README.md").write_text(f"# web\nBefore.\n{role_docs.BEGIN}\nold\n{role_docs.END}\nAfter.\n")
    text = role_docs.current_readme(role)
    assert text.startswith("# web\nBefore.\n")
    assert text.endswith("\nAfter.\n")
    assert "old" not in text


def test_an_outdated_readme_is_a_fault_and_a_written_one_is_not(make_role: MakeRole) -> None:
    role = make_role()
    assert list(role_docs.readme_faults(role)) == ["web: README.md is not current; run make docs"]
    (role / "README.md").write_text(role_docs.current_readme(role))
    assert list(role_docs.readme_faults(role)) == []


def test_a_directory_without_roles_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no role found"):
        role_docs.find_roles(tmp_path)
