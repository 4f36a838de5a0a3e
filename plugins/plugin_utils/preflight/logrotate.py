"""What must be true before the role logrotate changes a node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

FOLDER = "/etc/logrotate.d"
OWN_FILE = f"{FOLDER}/panda_server"
# Endings that logrotate leaves out when it includes a folder (its tabooext).
IGNORED = (
    ".bak", ".cfsaved", ".disabled", ".dpkg-bak", ".dpkg-del", ".dpkg-dist", ".dpkg-new", ".dpkg-old", ".dpkg-tmp",
    ".rpmnew", ".rpmorig", ".rpmsave", ".swp", ".ucf-dist", ".ucf-new", ".ucf-old", ",v", "~",
)  # fmt: skip
SCRIPTS = {"firstaction", "lastaction", "postrotate", "preremove", "prerotate"}


def look(variables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What the judgement below, and the role, have to know of the node."""
    return {"texts": ["/etc/logrotate.conf", f"{FOLDER}/*"], "units": ["logrotate.timer"]}


def faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Everything that has to be mended first."""
    return [*value_faults(variables), *duplicate_faults(variables, node)]


def value_faults(variables: Mapping[str, Any]) -> list[str]:
    """Values that logrotate would read as something else."""
    found = []
    if not variables["logrotate_logs"]:
        found.append("logrotate_logs: is empty; name at least one pattern, as in /var/log/panda/*log")
    for pattern in variables["logrotate_logs"]:
        if not re.fullmatch(r"/[^\s\"'{}#]+", pattern):
            found.append(f"logrotate_logs: '{pattern}' is not an absolute path without blanks, quotes or braces")
    for variable in ("logrotate_user", "logrotate_group"):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", variables[variable]):
            found.append(f"{variable}: '{variables[variable]}' is not a name of an account")
    if variables["logrotate_rotate"] < 1:
        found.append(f"logrotate_rotate: is {variables['logrotate_rotate']}; keep at least 1, or logs vanish at once")
    return found


def duplicate_faults(variables: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    """Other entries that rotate the same logs: logrotate then drops one of the two entries."""
    found = []
    for path, text in sorted(node["texts"].items()):
        if path == OWN_FILE or not path.startswith("/etc/logrotate") or path.endswith(IGNORED):
            continue
        for pattern in patterns(text):
            if any(overlap(pattern, own) for own in variables["logrotate_logs"]):
                found.append(
                    f"{path}: rotates {pattern} too, and logrotate refuses a log that two entries name; "
                    f"remove that entry, or the file if it holds nothing else (rm {path})"
                )
    return found


def patterns(text: str) -> Iterator[str]:
    """The log files that an entry of logrotate's configuration names."""
    inside, script = False, False
    for raw in text.splitlines():
        line = raw.strip()
        if script:
            script = line != "endscript"
        elif inside:
            script = line in SCRIPTS
            inside = not line.startswith("}")
        elif not line.startswith("#"):
            names, brace, _ = line.partition("{")
            inside = bool(brace) and "}" not in line
            yield from (word.strip("\"'") for word in names.split() if word.lstrip("\"'").startswith("/"))


def overlap(first: str, second: str) -> bool:
    """Whether two shell patterns can match the same path. Character classes count as any one character."""
    if not first or not second:
        return not (first + second).strip("*")
    if first[0] == "[" and "]" in first:
        first = "?" + first.partition("]")[2]
    if (second[0] == "[" and "]" in second) or (second[0] == "*" and first[0] != "*"):
        return overlap(second, first)
    if first[0] == "*":
        return overlap(first[1:], second) or (second[0] != "/" and overlap(first, second[1:]))
    same = first[0] == second[0] or ("?" in (first[0], second[0]) and "/" not in (first[0], second[0]))
    return same and overlap(first[1:], second[1:])
