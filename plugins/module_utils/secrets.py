"""Which parameters of a configuration are secrets, and what may be shown of them."""

from __future__ import annotations

import re
from typing import Any

SECRET = re.compile(r"passw|passcode|passphrase|(?<!by)pass$|secret$|token$", re.IGNORECASE)
"""Stands in the name of a parameter or variable whose value nobody but root may read."""
REFERENCE = re.compile(r"\$\{*(\w+)\}*")
"""A value that is taken from the environment: $NAME, ${NAME} or ${{NAME}}."""
NOT_SHOWN = "(not shown)"
_ASSIGNMENT = re.compile(r"^(?P<before>\s*(?:export\s+)?(?P<name>[\w.-]+)\s*[=:]\s*)(?P<value>\S.*)$", re.MULTILINE)
_MEMBER = re.compile(r"""(?P<before>"(?P<name>[^"\\\n]+)"\s*:\s*)(?P<value>"(?:[^"\\]|\\.)*"|[^\s,{}\[\]"]+)""")


def in_clear(name: str, value: Any) -> bool:
    """Whether a parameter is a secret that stands there itself, and not a switch or the path of a file.

    `none` is what the package writes for no password, `null` what JSON has for it.
    """
    text = str(value)
    harmless = text.lower() in ("", "none", "null", "true", "false") or text.startswith("/")
    return bool(SECRET.search(name)) and not harmless and not REFERENCE.fullmatch(text)


def without_secrets(text: str) -> str:
    """A configuration file (ini, KEY=value or JSON) with the values of its secrets left out."""
    for form in (_ASSIGNMENT, _MEMBER):
        text = form.sub(_shown, text)
    return text


def _shown(match: re.Match[str]) -> str:
    if in_clear(match["name"], match["value"].strip().strip("\"'")):
        return f"{match['before']}{NOT_SHOWN}"
    return match[0]
