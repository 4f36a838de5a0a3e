"""Keep the variables of each role said once.

`check` compares defaults/main.yml with meta/argument_specs.yml and README.md with both;
`write` writes the generated part of each README.md. Text outside the markers is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"
BEGIN = "<!-- from meta/argument_specs.yml by `make docs`: begin -->"
END = "<!-- from meta/argument_specs.yml by `make docs`: end -->"
LONGEST_DEFAULT = 72

PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "dict": dict,
    "float": (float, int),
    "int": int,
    "list": list,
    "path": str,
    "str": str,
}

Spec = dict[str, Any]


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; an absent or empty one is an empty mapping."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}


def read_spec(role: Path) -> Spec:
    """Return the argument spec of a role's main entry point."""
    specs = read_yaml(role / "meta" / "argument_specs.yml").get("argument_specs", {})
    return dict(specs.get("main", {}))


def has_type(value: Any, wanted: str) -> bool:
    """Say whether a default may stand for a type; a Jinja expression may stand for any."""
    if wanted == "raw" or (isinstance(value, str) and "{{" in value):
        return True
    if isinstance(value, bool) and wanted != "bool":
        return False
    return isinstance(value, PYTHON_TYPES[wanted])


def interface_faults(role: Path) -> Iterator[str]:
    """Yield what disagrees between a role's defaults and its argument spec."""
    defaults = read_yaml(role / "defaults" / "main.yml")
    options = read_spec(role).get("options", {})
    if not options:
        yield f"{role.name}: meta/argument_specs.yml has no options under main; describe every variable there"
    for name in defaults.keys() - options.keys():
        yield f"{role.name}: {name} has a default but is not in meta/argument_specs.yml; describe it there"
    for name, option in options.items():
        for fault in option_faults(name, option, defaults):
            yield f"{role.name}: {fault}"


def option_faults(name: str, option: Spec, defaults: Spec) -> Iterator[str]:
    """Yield what is wrong with one option of an argument spec."""
    kind = option.get("type", "str")
    if not option.get("description"):
        yield f"{name} has no description in meta/argument_specs.yml; say what it is, its unit, when to change it"
    if kind != "raw" and kind not in PYTHON_TYPES:
        yield f"{name} has the unknown type {kind!r}; use one of raw, {', '.join(PYTHON_TYPES)}"
        return
    if option.get("required"):
        if name in defaults or "default" in option:
            yield f"{name} is required and has a default; drop one of the two"
        return
    if name not in defaults:
        yield f"{name} is optional and not in defaults/main.yml; give it a default there or say required: true"
        return
    default = defaults[name]
    described = option.get("default")
    if "default" not in option:
        yield f"{name} has a default that meta/argument_specs.yml does not state; add default: {default!r}"
    elif (type(described), described) != (type(default), default):
        yield (
            f"{name} is {default!r} in defaults/main.yml and {described!r} in meta/argument_specs.yml; make them equal"
        )
    if not has_type(default, kind):
        yield f"{name} has the default {default!r}, which is not of its type {kind}; correct one of the two"
    if "choices" in option and "{{" not in str(default) and default not in option["choices"]:
        yield f"{name} has the default {default!r}, which is not among its choices {option['choices']}"


def paragraphs(description: str | list[str]) -> list[str]:
    """Return a description, which may be text or a list of texts, as paragraphs."""
    texts = [description] if isinstance(description, str) else description
    return [" ".join(str(text).split()) for text in texts]


def default_cell(option: Spec) -> str:
    """Return how a table shows the default of an option."""
    if option.get("required"):
        return "**required**"
    if "default" not in option:
        return ""
    default = option["default"]
    if default == "":
        return "empty"
    text = yaml.safe_dump(default, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    if isinstance(default, str):
        text = default.strip()
    if "\n" in text or len(text) > LONGEST_DEFAULT:
        return "see defaults/main.yml"
    return f"`{text}`".replace("|", "\\|")


def table_rows(options: dict[str, Spec], prefix: str = "") -> Iterator[str]:
    """Yield one table row per option; the keys of structured options follow their option."""
    for name, option in options.items():
        kind = option.get("type", "str")
        if kind == "list" and "elements" in option:
            kind = f"list of {option['elements']}"
        words = " ".join(paragraphs(option.get("description", "")))
        if "choices" in option:
            words += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        cells = (f"`{prefix}{name}`", kind, default_cell(option), words.replace("|", "\\|").replace("<", "&lt;"))
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |")
        if "options" in option:
            item = "[]" if option.get("type") == "list" else ""
            yield from table_rows(option["options"], f"{prefix}{name}{item}.")


def generated_text(role: Path) -> str:
    """Return the part of a role's README that comes from its argument spec."""
    spec = read_spec(role)
    lines = [BEGIN, ""]
    for paragraph in paragraphs(spec.get("description") or spec.get("short_description", "")):
        lines += [paragraph, ""]
    lines += ["| variable | type | default | what it is |", "|---|---|---|---|"]
    lines += table_rows(spec.get("options", {}))
    return "\n".join([*lines, "", END])


def current_readme(role: Path) -> str:
    """Return a role's README with its generated part as it should be."""
    readme = role / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else f"# {role.name}\n\n{BEGIN}\n{END}\n"
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{role.name}: README.md lacks the lines\n{BEGIN}\n{END}\nput them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + generated_text(role) + after


def readme_faults(role: Path) -> Iterator[str]:
    """Yield a fault when a role's README is not what its argument spec makes it."""
    readme = role / "README.md"
    if not readme.is_file() or readme.read_text(encoding="utf-8") != current_readme(role):
        yield f"{role.name}: README.md is not current; run make docs"


def find_roles(directory: Path) -> list[Path]:
    """Return the roles in a directory; none at all is an error, not a success."""
    found = sorted(path.parent for path in directory.glob("*/tasks"))
    if not found:
        raise SystemExit(f"role_docs: no role found in {directory}")
    return found


def main(arguments: list[str]) -> int:
    """Run `check` or `write` over all roles."""
    if arguments not in (["check"], ["write"]):
        raise SystemExit("usage: role_docs.py check | write")
    roles = find_roles(ROLES)
    faults = [fault for role in roles for fault in interface_faults(role)]
    if arguments == ["write"]:
        for role in roles:
            (role / "README.md").write_text(current_readme(role), encoding="utf-8")
    else:
        faults += [fault for role in roles for fault in readme_faults(role)]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"role_docs: {len(roles)} roles, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
