"""JSON and values that come from outside, held to what every database and every reader can take."""

import json
from typing import Any, NoReturn

MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 100
"""Lists within lists: deeper, whoever walks through them would run out of stack."""


def read_json(text: str | bytes) -> Any:
    """The content of a JSON document, or ValueError."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def check(value: Any, depth: int = 0) -> None:
    """Raises ValueError for a number or text that JSON can say and not every database can store."""
    if depth > MAX_DEPTH:
        raise ValueError("is nested too deeply")
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("contains a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("contains half a character") from None
    elif isinstance(value, int | float):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("is a number out of range")
    elif isinstance(value, list):
        for item in value:
            check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            check(key, depth + 1)
            check(item, depth + 1)
