"""What a patch of the database does, read from its SQL: whether it is one transaction, and whose rows it takes."""

from __future__ import annotations

import re

# What is not run with a patch: comments, strings, and bodies of routines, but not those of DO. A line of psql's own
# is none of these; it is named because its quotes need not be pairs.
ASIDE = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | ^[ \t]*\\[^\n]* | \bE'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*'
    | (?P<do>\bDO\s+(?:LANGUAGE\s+\w+\s+)?)?(?P<mark>\$\w*\$)(?P<body>.*?)(?P=mark)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
STATEMENT = re.compile(r"[^;]+")
# What a patch says that cannot be run in a transaction around all of it.
APART = re.compile(
    r"^\s*\\c|\b(BEGIN\s*(;|WORK|TRANSACTION)|START\s+TRANSACTION|COMMIT|ROLLBACK|CALL|CONCURRENTLY|VACUUM"
    r"|ALTER\s+SYSTEM|(CREATE|DROP)\s+DATABASE)",
    re.MULTILINE | re.IGNORECASE,
)
# Statements that take rows from the tables that they name first, or from tables that they do not name. A view, index,
# constraint, trigger or routine has no rows.
LOSSES = [
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        r"\bDROP\s+(?:FOREIGN\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?P<tables>.+)",
        r"\bTRUNCATE\s+(?:TABLE\s+)?(?!\s*(?:ON|OR)\b)(?P<tables>.+)",
        r"\bDELETE\s+FROM\s+(?:ONLY\s+)?(?P<tables>\S+)",
        r"\bALTER\s+(?:FOREIGN\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<tables>\S+)\s"
        r".*?\bDROP\s+(?!\s*(?:CONSTRAINT|NOT|DEFAULT|EXPRESSION|IDENTITY)\b)",
        r"\bDROP\s+(?:SCHEMA|DATABASE|OWNED)\b(?P<tables>)",
        r"\bDROP\s+(?:TYPE|DOMAIN|EXTENSION)\b.*\bCASCADE\b(?P<tables>)",
    )
]
RENAME = re.compile(
    r"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(\S+)\s+RENAME\s+TO\s+(\S+)", re.DOTALL | re.IGNORECASE
)


def code(text: str) -> str:
    """The text with blanks, in the same places, for what is not run with it."""

    def blank(found: re.Match[str]) -> str:
        if found[0].lstrip().startswith("\\"):
            return found[0]
        if found["do"]:
            mark = " " * len(found["mark"])
            return found["do"] + mark + code(found["body"]) + mark
        return re.sub(r"[^\n]", " ", found[0])

    return ASIDE.sub(blank, text)


def bare(name: str) -> str:
    """A table's name as it is compared: without schema, quotes, and what stands around it in a list of names."""
    words = [word for word in name.split() if word.upper() != "ONLY"]
    return words[0].strip("*").replace('"', "").rpartition(".")[2].lower() if words else ""


def losses(text: str, tables: set[str]) -> list[str]:
    """Each statement, with its line, that takes rows from one of the tables; what it renames becomes one of them."""
    found = []
    for statement in STATEMENT.finditer(code(text)):
        renamed = RENAME.search(statement[0])
        if renamed and bare(renamed[1]) in tables:
            tables.add(bare(renamed[2]))
        for pattern in LOSSES:
            loss = pattern.search(statement[0])
            if loss and (not loss["tables"] or tables.intersection(map(bare, loss["tables"].split(",")))):
                begin = statement.start() + loss.start()
                said = " ".join(text[begin : statement.end()].split())
                found.append(f"line {text.count(chr(10), 0, begin) + 1}: {said[:100]}")
    return found


def apart(text: str) -> bool:
    """Whether the patch says what cannot be run in a transaction around all of it."""
    return bool(APART.search(code(text)))
