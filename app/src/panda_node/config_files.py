"""Finds and reads panda_common.cfg, panda_server.cfg and the JSON overlay as the public PanDA packages do."""

import json
import re
from collections.abc import Iterable, Mapping
from configparser import BasicInterpolation, ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from pathlib import Path

COMMON_FILE = "panda_common.cfg"
SERVER_FILE = "panda_server.cfg"
OVERLAY_FILE = "etc/config_json/panda_server_config.json"
OVERLAY_SECTIONS = ("server", "daemon")

# The whole value is one reference: $VAR, ${VAR} or ${{VAR}}. A "$" inside a longer value stands for itself.
_REFERENCE = re.compile(r"\$(?:\{\{(\w+)\}\}|\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Value:
    """A value and the file it was read from, so that a fault can name it."""

    content: object
    """None: it could not be read, and that fault has been noted."""
    file: Path


Sections = dict[str, dict[str, Value]]


def search_path(environ: Mapping[str, str]) -> list[Path]:
    """The directories that are read, in order; a later one wins key by key."""
    directories = [
        Path("/etc/panda"),
        Path("/usr/etc/panda"),
        Path(environ.get("HOME", "~")).expanduser() / "etc/panda",
    ]
    if home := environ.get("PANDA_HOME"):
        directories += [Path(home, "etc/panda"), Path(home, "usr/etc/panda")]
    return list(dict.fromkeys(directories))


def default_overlay(environ: Mapping[str, str]) -> Path | None:
    """The overlay's place. Without PANDA_HOME there is none."""
    home = environ.get("PANDA_HOME")
    return Path(home, OVERLAY_FILE) if home else None


def read_sections(
    directories: Iterable[Path], overlay: Path | None, environ: Mapping[str, str], faults: list[str]
) -> Sections:
    """Reads all files into sections of expanded values; whatever cannot be read is added to `faults`."""
    sections: Sections = {}
    directories = list(directories)
    for name in (COMMON_FILE, SERVER_FILE):
        found = [directory / name for directory in directories if (directory / name).is_file()]
        if not found:
            places = ", ".join(str(directory) for directory in directories)
            faults.append(f"{name}: not found in {places}; run the provisioning, or set PANDA_HOME")
        for file in found:
            _read_cfg(file, sections, faults)
    if overlay is not None and overlay.is_file():
        _read_overlay(overlay, sections, faults)
    for section, values in sections.items():
        for key, value in values.items():
            values[key] = Value(_expand(section, key, value, environ, faults), value.file)
    return sections


def read_environment_file(file: Path) -> dict[str, str]:
    """Reads KEY=VALUE lines as systemd's EnvironmentFile= does, without line continuation."""
    variables = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not key.startswith(("#", ";")):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            variables[key.strip()] = _unquoted(value) if quoted else value
    return variables


def _unquoted(value: str) -> str:
    """What stands between quotes; a backslash before one of these is dropped between double quotes only."""
    return re.sub(r'\\(["\\`$])', r"\1", value[1:-1]) if value[0] == '"' else value[1:-1]


class _Parser(ConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _read_cfg(file: Path, sections: Sections, faults: list[str]) -> None:
    parser = _Parser(interpolation=BasicInterpolation())
    try:
        parser.read_string(file.read_text(encoding="utf-8"), source=str(file))
    except (ConfigParserError, OSError, UnicodeDecodeError) as error:
        faults.append(f"{file}: cannot be read: {' '.join(str(error).split())}")
        return
    for section in parser.sections():
        for key in parser.options(section):
            try:
                content = parser.get(section, key)
            except ConfigParserError:
                faults.append(f"{file}: [{section}] {key}: a single '%' has a meaning of its own here; write '%%'")
                content = None
            sections.setdefault(section, {})[key] = Value(content, file)


def _read_overlay(file: Path, sections: Sections, faults: list[str]) -> None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        faults.append(f"{file}: not a JSON document: {error}; correct or remove the file")
        return
    if not isinstance(content, dict):
        faults.append(f"{file}: must be one JSON object with the sections {' and '.join(OVERLAY_SECTIONS)}")
        return
    for section in OVERLAY_SECTIONS:
        values = content.get(section, {})
        if not isinstance(values, dict):
            faults.append(f"{file}: section {section}: must be a JSON object of keys and values")
            continue
        sections.setdefault(section, {}).update({key: Value(value, file) for key, value in values.items()})


def _expand(section: str, key: str, value: Value, environ: Mapping[str, str], faults: list[str]) -> object:
    if not isinstance(value.content, str) or not (match := _REFERENCE.fullmatch(value.content)):
        return value.content
    name = next(group for group in match.groups() if group)
    if name not in environ:
        faults.append(
            f"{value.file}: [{section}] {key}: refers to ${name}, which the environment does not have; "
            f"define {name} in an environment file of the service"
        )
        return None
    return environ[name]
