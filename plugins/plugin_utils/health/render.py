"""Show the judged fleet: a table for the terminal, JSON for programs, a page for people."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health.model import COLUMNS, NOT_SEEN, Limits, Node
from jinja2 import Environment, FileSystemLoader, StrictUndefined

MARK = "!"
SHORTEST_NAME = 7
FORM = 1
"""Of the JSON file: raised when a program that reads it would have to change."""


def headline(nodes: Sequence[Node]) -> str:
    """How it stands, in one line."""
    faults = sum(len(node.faults) for node in nodes)
    sick = sum(bool(node.faults) for node in nodes)
    fleet = counted(len(nodes), "node")
    return f"{counted(faults, 'fault')} on {sick} of {fleet}" if faults else f"{fleet}, no fault"


def counted(number: int, thing: str) -> str:
    """A number of things."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def table(nodes: Sequence[Node], width: int) -> list[str]:
    """A line for each node under a line of headings; what is at fault is marked, with or without colours.

    Where the line would be too long, releases are cut to their last part, then names in their middle.
    """
    columns = columns_of(nodes)
    cells = {node.name: [cell(node, column) for column in columns] for node in nodes}
    headings = [column.upper() for column in columns]
    widths = widths_of(headings, cells.values())
    longest = max([len("NODE"), *map(len, cells)])
    if longest + sum(widths) + len(widths) * 2 > width and "release" in columns:
        at = columns.index("release")
        for row in cells.values():
            row[at] = short_release(row[at])
        widths = widths_of(headings, cells.values())
    gap = 2 if longest + sum(widths) + len(widths) * 2 <= width else 1
    room = max(width - sum(widths) - len(widths) * gap, SHORTEST_NAME)
    longest = min(longest, room)
    lines = [("NODE", headings), *((shorten(name, longest), row) for name, row in cells.items())]
    between = " " * gap
    return [
        between.join(
            [name.ljust(longest), *(text.ljust(wide) for text, wide in zip(row, widths, strict=True))]
        ).rstrip()
        for name, row in lines
    ]


def columns_of(nodes: Sequence[Node]) -> list[str]:
    """The columns in which something was seen: a fleet without a balancer has none for it."""
    return [column for column in COLUMNS if any(node.cells[column] != NOT_SEEN for node in nodes)]


def cell(node: Node, column: str) -> str:
    """What stands in the table, marked where there is a fault."""
    text = node.cells[column].replace(" ", "")
    return f"{MARK}{text}" if column in node.faulty else text


def widths_of(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[int]:
    """The width of each column."""
    return [max(map(len, column)) for column in zip(headings, *rows, strict=True)]


def short_release(text: str) -> str:
    """A release without its version: nodes differ in the hash."""
    mark, name = (MARK, text[1:]) if text.startswith(MARK) else ("", text)
    return mark + (name.rpartition("-")[2][:7] or name)


def shorten(name: str, width: int) -> str:
    """A name cut in its middle: hosts of a fleet differ at their end."""
    if len(name) <= width:
        return name
    end = (width - 1) * 2 // 3
    return f"{name[: width - 1 - end]}…{name[-end:]}"


def fault_lines(nodes: Sequence[Node], width: int) -> list[str]:
    """Every fault under the name of its node: what it is, and what to do."""
    lines: list[str] = []
    indent = " " * 10
    for node in nodes:
        if node.faults or node.notes:
            lines += ["", node.name]
        for fault in node.faults:
            text = f"{fault.thing} {fault.what}"
            lines += wrapped(text, width, f"  {fault.column:7} ", indent)
            lines += wrapped(fault.remedy, width, f"{indent}→ ", f"{indent}  ")
        for note in node.notes:
            lines += wrapped(note, width, "  note    ", indent)
    return lines


def wrapped(text: str, width: int, first: str, following: str) -> list[str]:
    """A text in lines of a width; words are kept whole, so that paths and commands can be copied."""
    return textwrap.wrap(
        " ".join(text.split()), max(width, 40), initial_indent=first, subsequent_indent=following,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def document(nodes: Sequence[Node], limits: Limits, when: str, remarks: Sequence[str]) -> dict[str, Any]:
    """What the JSON file holds."""
    return {
        "form": FORM,
        "when": when,
        "sound": not any(node.faults for node in nodes),
        "headline": headline(nodes),
        "remarks": list(remarks),
        "limits": asdict(limits),
        "nodes": {
            node.name: {
                "address": node.address,
                "sound": not node.faults,
                "cells": node.cells,
                "faults": [
                    {"column": fault.column, "thing": fault.thing, "what": fault.what, "remedy": fault.remedy}
                    for fault in node.faults
                ],
                "notes": node.notes,
                "changes": node.changes,
                "seen": node.seen,
            }
            for node in nodes
        },
    }


def page(nodes: Sequence[Node], limits: Limits, when: str, remarks: Sequence[str]) -> str:
    """The page: one file, nothing loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        nodes=nodes,
        columns=columns_of(nodes),
        limits=limits,
        when=when,
        remarks=remarks,
        headline=headline(nodes),
        nothing=NOT_SEEN,
    )


def write(path: Path, text: str) -> None:
    """Replace a file in one step: a monitor may read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
