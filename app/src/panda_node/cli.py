"""The command `panda-node`. Each command imports what it needs, so that `schema check` stays fast."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from panda_node import __version__, config, config_files
from panda_node.errors import ConfigurationError, DatabaseUnreachableError, PandaNodeError, SchemaMismatchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        for file in options.environment_file:
            os.environ.update(config_files.read_environment_file(file))
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except ConfigurationError as error:
        for fault in error.faults:
            print(f"panda-node: {fault}", file=sys.stderr)
        return error.exit_code
    except (PandaNodeError, OSError) as error:
        print(f"panda-node: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, PandaNodeError) else 1


def _schema_check(options: argparse.Namespace) -> int:
    from panda_node import payload
    from panda_node.db import version
    from panda_node.systemd import notify

    # Said to systemd too: in the status of a unit it stays, while the journal's line is shown only for a time.
    try:
        settings = config.load()
        version.check(settings.database, wait=options.wait, required=payload.of(settings.payload).requirement(settings))
    except PandaNodeError as error:
        notify(STATUS=f"DB schema check: {error}")
        print(f"DB schema check: {error}", file=sys.stderr)
        return error.exit_code
    notify(STATUS="DB schema check: OK")
    print("DB schema check: OK")
    return 0


def _schema_show(_: argparse.Namespace) -> int:
    from panda_node import payload
    from panda_node.db import version

    settings = config.load()
    required = payload.of(settings.payload).requirement(settings)
    installed, fault, code = None, "", 0
    try:
        installed = version.installed(settings.database, required=required)
        version.judge(installed, required)
    except (SchemaMismatchError, DatabaseUnreachableError) as error:
        fault, code = str(error), error.exit_code
    shown = {"required": str(required.version), "installed": str(installed or ""), "fault": fault}
    print(json.dumps(shown))
    return code


def _schema_upgrade(options: argparse.Namespace) -> int:
    from panda_node.db import migrate
    from panda_node.db.version import REQUIRED, Version

    before, after = migrate.upgrade(config.load().database, Version(*options.to) if options.to else REQUIRED)
    print(f"schema: already at {after}" if before == after else f"schema: upgraded {before or 'none'} -> {after}")
    return 0


def _config_check(options: argparse.Namespace) -> int:
    from panda_node import config_check

    directories = [options.directory] if options.directory else config_files.search_path(os.environ)
    overlay = options.overlay or (None if options.directory else config_files.default_overlay(os.environ))
    faults = config_check.faults(directories, overlay, os.environ)
    if options.overlay and not options.overlay.is_file():
        faults.append(f"{options.overlay}: no such file; correct --overlay")
    if faults:
        raise ConfigurationError(faults)
    print("configuration: OK")
    return 0


def _daemon(_: argparse.Namespace) -> int:
    settings = config.load()
    from panda_node import payload

    payload.of(settings.payload).run_daemon(settings)
    return 0


def _service(options: argparse.Namespace) -> int:
    from panda_node import payload

    # Not the settings: MCP has no password of the database.
    payload.of(os.environ.get(config.PAYLOAD_VARIABLE, config.BUNDLED)).run_service(options.name)
    return 0


def _burn_in(options: argparse.Namespace) -> int:
    settings = config.load()
    from panda_node import payload

    for line in payload.of(settings.payload).burn_in(settings, options.socket, options.wait):
        print(f"burn-in: {line}")
    return 0


def _queue_load(options: argparse.Namespace) -> int:
    try:
        queues = json.loads(options.file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PandaNodeError(f"{options.file}: not a JSON document: {error}") from error
    if not isinstance(queues, dict):
        raise PandaNodeError(f"{options.file}: must be one JSON object of queue names and definitions")
    settings = config.load()
    from panda_node.db.pool import Database
    from panda_node.db.queues import save_queues

    save_queues(Database(settings.database), queues)
    print(f"queues: {len(queues)} loaded")
    return 0


def _ban(options: argparse.Namespace) -> int:
    settings = config.load()
    from panda_node.db import bans
    from panda_node.db.pool import Database

    database = Database(settings.database)
    if options.what == "add":
        bans.add(database, options.user, options.reason)
    elif options.what == "remove" and not bans.remove(database, options.user):
        raise PandaNodeError(f"{options.user} is not banned")
    elif options.what == "list":
        for user, reason in bans.all_bans(database):
            print(f"{user}: {reason}")
    return 0


def _version_number(text: str) -> tuple[int, ...]:
    parts = tuple(int(part) for part in text.split("."))
    if len(parts) != 3:
        raise ValueError
    return parts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="panda-node",
        description="The bundled application of a PanDA server node.",
        epilog="Exit codes: 0 good, 1 other failure, 2 configuration, 3 schema mismatch, 4 database unreachable.",
    )
    parser.add_argument("--version", action="version", version=f"panda-node {__version__}")
    parser.add_argument(
        "--environment-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="read variables from FILE, as the service does; may be repeated",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    schema = commands.add_parser("schema", help="the database's schema").add_subparsers(required=True, metavar="WHAT")
    check = schema.add_parser("check", help="is it the schema that this release needs?")
    check.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="keep asking an unreachable database")
    check.set_defaults(command=_schema_check)
    show = schema.add_parser("show", help="which schema is there and which this release needs, as JSON; one try")
    show.set_defaults(command=_schema_show)
    upgrade = schema.add_parser("upgrade", help="bring it to this release's version; safe from several nodes at once")
    upgrade.add_argument("--to", type=_version_number, metavar="X.Y.Z", help="stop at this version")
    upgrade.set_defaults(command=_schema_upgrade)

    configuration = commands.add_parser("config", help="the configuration files")
    configuration_commands = configuration.add_subparsers(required=True, metavar="WHAT")
    config_check = configuration_commands.add_parser("check", help="report all faults together")
    config_check.add_argument("--directory", type=Path, help="read only the cfg files here, before they are in place")
    config_check.add_argument("--overlay", type=Path, metavar="FILE", help="read this JSON overlay")
    config_check.set_defaults(command=_config_check)

    commands.add_parser("daemon", help="run the periodic jobs").set_defaults(command=_daemon)

    for name, purpose in (("jedi", "from tasks to jobs"), ("mcp", "the API for language models")):
        service = commands.add_parser(name, help=f"run the public package's {name.upper()}: {purpose}")
        service.set_defaults(command=_service, name=name)

    burn_in = commands.add_parser("burn-in", help="bring a job through this node's application")
    burn_in.add_argument("--socket", type=Path, default=Path("/run/panda/wsgi.sock"), metavar="PATH")
    burn_in.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="for a daemon to finish the job")
    burn_in.set_defaults(command=_burn_in)

    queue = commands.add_parser("queue", help="queue definitions").add_subparsers(required=True, metavar="WHAT")
    load = queue.add_parser("load", help="add or replace queues")
    load.add_argument("file", type=Path, metavar="FILE.json", help='{"QUEUE": {...}, ...}')
    load.set_defaults(command=_queue_load)

    ban = commands.add_parser("ban", help="users who are kept out").add_subparsers(
        required=True, dest="what", metavar="WHAT"
    )
    add = ban.add_parser("add", help="keep a user out; every node follows within a minute")
    add.add_argument("user", metavar="NAME", help="as panda-Entry.log has it after user=, or a whole DN")
    add.add_argument("--reason", default="no reason given")
    ban.add_parser("remove", help="let a user in again").add_argument("user", metavar="NAME")
    ban.add_parser("list", help="who is kept out, and why")
    for command in ban.choices.values():
        command.set_defaults(command=_ban)
    return parser


if __name__ == "__main__":
    sys.exit(main())
