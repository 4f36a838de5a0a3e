"""Which parameters of a configuration are secrets, and what may be shown of them."""

from __future__ import annotations

import re

SECRET = re.compile(r"passw|passcode|passphrase|(?<!by)pass$|secret$|token$", re.IGNORECASE)
"""Stands in the name of a parameter or variable whose value nobody but root may read."""
HARMLESS = re.compile(r"""["']?(\$\{*\w+\}*|/.*|none|null|true|false)?["']?,?""", re.IGNORECASE)
"""No secret itself: taken from the environment, the path of a file, a switch, or what the package writes for none."""
NOT_SHOWN = "(not shown)"
_ASSIGNMENT = re.compile(r"""^(?P<before>\s*(?:export\s+)?(?P<name>[\w.-]+)\s*[=:]\s*)(?P<value>\S.*)$""", re.MULTILINE)
_MEMBER = re.compile(r"""(?P<before>"(?P<name>[^"\\\n]+)"\s*:\s*)(?P<value>"(?:[^"\\]|\\.)*"|[^\s,{}\[\]"]+)""")


def without_secrets(text: str) -> str:
    """A configuration file (ini, KEY=value or JSON) with the values of its secrets left out."""
    for form in (_ASSIGNMENT, _MEMBER):
        text = form.sub(_shown, text)
    return text


def _shown(match: re.Match[str]) -> str:
    if not SECRET.search(match["name"]) or HARMLESS.fullmatch(match["value"].strip()):
        return match[0]
    return f"{match['before']}{NOT_SHOWN}"
