"""The schema check and the upgrade, as an operator and the services see them."""

import contextlib
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from panda_node.db import drivers, migrate, version
from panda_node.db.pool import Database
from panda_node.db.tables import metadata
from panda_node.db.version import REQUIRED, Version
from panda_node.errors import DatabaseUnreachableError, SchemaMismatchError
from sqlalchemy import text
from sqlalchemy.dialects import mysql, oracle, postgresql, sqlite
from sqlalchemy.schema import CreateTable

OK = "DB schema check: OK\n"


def set_version(node: Any, major: int, minor: int, patch: int) -> None:
    with Database(node.settings().database).writing("test") as connection:
        connection.execute(text(f"UPDATE pandadb_version SET major={major}, minor={minor}, patch={patch}"))


def test_from_nothing_over_one_version_behind_to_current(any_node: Any) -> None:
    done = any_node.run("schema", "check")
    assert done.returncode == 3
    expected = "DB schema check: no schema is installed, this release needs 1.2.0; run 'panda-node schema upgrade'\n"
    assert done.stdout == expected
    assert any_node.run("schema", "upgrade", "--to", "1.0.0").stdout == "schema: upgraded none -> 1.0.0\n"
    done = any_node.run("schema", "check")
    expected = "DB schema check: installed is 1.0.0, this release needs 1.2.0; run 'panda-node schema upgrade'\n"
    assert (done.returncode, done.stdout) == (3, expected)
    assert any_node.run("schema", "upgrade").stdout == "schema: upgraded 1.0.0 -> 1.2.0\n"
    assert any_node.run("schema", "upgrade").stdout == "schema: already at 1.2.0\n"
    done = any_node.run("schema", "check")
    assert (done.returncode, done.stdout) == (0, OK)


def test_what_is_there_and_what_is_needed_can_be_read_by_programs(any_node: Any) -> None:
    done = any_node.run("schema", "show")
    hint = "no schema is installed, this release needs 1.2.0; run 'panda-node schema upgrade'"
    assert json.loads(done.stdout) == {"required": "1.2.0", "installed": "", "fault": hint}
    assert done.returncode == 3
    any_node.install_schema()
    done = any_node.run("schema", "show")
    assert json.loads(done.stdout) == {"required": "1.2.0", "installed": "1.2.0", "fault": ""}
    assert done.returncode == 0
    set_version(any_node, 1, 1, 4)
    done = any_node.run("schema", "show")
    assert json.loads(done.stdout)["installed"] == "1.1.4"
    assert done.returncode == 3


def test_the_migrations_make_the_tables_that_the_code_uses(any_node: Any) -> None:
    any_node.install_schema()
    with Database(any_node.settings().database).reading("compare") as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert [change for change in differences if "alembic_version" not in str(change)] == []


def test_a_changed_version_row_is_found_and_mended(any_node: Any) -> None:
    any_node.install_schema()
    set_version(any_node, 1, 0, 9)
    assert any_node.run("schema", "check").returncode == 3
    assert any_node.run("schema", "upgrade").stdout == "schema: upgraded 1.0.9 -> 1.2.0\n"
    assert any_node.run("schema", "check").stdout == OK


@pytest.mark.parametrize("at", ["pandadb_version", "daemon_lock", "ix_tasks_name", "files"])
def test_an_upgrade_that_was_interrupted_is_completed_by_the_next(
    mariadb_node: Any, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """MariaDB, as Oracle, commits each statement that makes something at once."""

    def ending_at(function: Any) -> Any:
        def ended(name: str, *arguments: Any, **options: Any) -> Any:
            made = function(name, *arguments, **options)
            if name == at:
                raise EOFError
            return made

        return ended

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_table", ending_at(op.create_table))
        patch.setattr(op, "create_index", ending_at(op.create_index))
        with pytest.raises(EOFError):
            mariadb_node.install_schema()
    mariadb_node.install_schema()
    database = mariadb_node.settings().database
    assert version.check(database) == REQUIRED
    with Database(database).reading("compare") as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert [change for change in differences if "alembic_version" not in str(change)] == []


@pytest.mark.parametrize("dialect", [sqlite, postgresql, mysql, oracle])
def test_every_database_can_say_every_table(dialect: Any) -> None:
    for table in metadata.tables.values():
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect.dialect()))


@pytest.mark.parametrize("installed", [REQUIRED, Version(1, 2, 7), Version(1, 9, 0)])
def test_a_newer_schema_of_the_same_major_version_is_good(installed: Version) -> None:
    assert version.judge(installed) == installed


@pytest.mark.parametrize("installed", [None, Version(0, 9, 9), Version(1, 0, 9), Version(2, 0, 0)])
def test_any_other_schema_is_a_mismatch(installed: Version | None) -> None:
    with pytest.raises(SchemaMismatchError, match=r"this release needs 1\.2\.0; (run|install)"):
        version.judge(installed)


def test_an_old_release_leaves_a_newer_schema_alone(node: Any) -> None:
    node.install_schema()
    set_version(node, 1, 2, 0)
    assert node.run("schema", "upgrade").stdout == "schema: already at 1.2.0\n"
    assert node.run("schema", "check").stdout == OK


def test_four_nodes_upgrade_at_once_and_one_does_the_work(any_node: Any) -> None:
    processes = [any_node.popen("panda_node.cli", "schema", "upgrade") for _ in range(4)]
    outputs = sorted(process.communicate(timeout=60)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0, 0, 0], outputs
    assert outputs == ["schema: already at 1.2.0\n"] * 3 + ["schema: upgraded none -> 1.2.0\n"]
    assert any_node.run("schema", "check").stdout == OK


def test_a_migration_may_take_longer_than_a_request(postgres_node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres_node.server["dbtimeout"] = 1
    postgres_node.write()
    installed = migrate._installed

    def slowly(connection: Any) -> Any:
        connection.execute(text("SELECT pg_sleep(3.5)"))
        return installed(connection)

    monkeypatch.setattr(migrate, "_installed", slowly)
    postgres_node.install_schema()
    assert version.check(postgres_node.settings().database) == REQUIRED


def test_an_unknown_version_is_refused(node: Any) -> None:
    done = node.run("schema", "upgrade", "--to", "1.0.5")
    assert done.returncode == 1
    assert "no schema version 1.0.5; this release has 1.0.0, 1.1.0, 1.2.0" in done.stdout


def test_a_refused_account_is_a_configuration_fault_not_an_outage(postgres_node: Any) -> None:
    postgres_node.environment["PANDA_DB_PASSWORD"] = "wrong"
    for command in ("check", "upgrade"):
        done = postgres_node.run("schema", command)
        assert done.returncode == 2
        assert "user panda is refused" in done.stdout
        assert "check dbuser and dbpasswd" in done.stdout
        assert "Traceback" not in done.stdout


@pytest.mark.parametrize("kind", ["postgres_node", "mariadb_node"])
def test_a_database_that_is_not_there_is_away_as_in_a_restore(kind: str, request: pytest.FixtureRequest) -> None:
    node = request.getfixturevalue(kind)
    node.server["dbname"] = "nowhere"
    node.write()
    for command in ("check", "upgrade"):
        done = node.run("schema", command)
        # Who mistyped its name has to see it.
        assert (done.returncode, "'nowhere'" in done.stdout.replace('"', "'")) == (4, True), done.stdout


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("postgres", 'FATAL: database "panda_db" does not exist'),
        ("postgres", 'FATAL: no pg_hba.conf entry for host "10.0.0.1", user "panda", database "panda_db"'),
        ("postgres", "FATAL: the database system is starting up"),
        ("mysql", (1049, "Unknown database 'panda_db'")),
        # So it says instead of 1049 to an account that has rights on some databases only.
        ("mysql", (1044, "Access denied for user 'panda'@'%' to database 'panda_db'")),
        ("mysql", (1130, "Host '10.0.0.1' is not allowed to connect to this MariaDB server")),
        ("oracle", 'DPY-6001: Service "panda" is not registered with the listener at host (Similar to ORA-12514)'),
        ("oracle", 'DPY-6003: SID "panda" is not registered with the listener at host (Similar to ORA-12505)'),
        ("oracle", "ORA-12528: TNS:listener: all appropriate instances are blocking new connections"),
        ("oracle", "ORA-01033: ORACLE initialization or shutdown in progress"),
        ("oracle", "ORA-01109: database not open"),
    ],
)
def test_what_passes_by_itself_is_no_refusal(backend: str, said: Any) -> None:
    error = Exception(*said) if isinstance(said, tuple) else Exception(said)
    assert not drivers.DRIVERS[backend].refused(error)


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("postgres", 'FATAL: password authentication failed for user "panda"'),
        ("postgres", 'FATAL: role "panda" does not exist'),
        ("postgres", 'FATAL: role "panda" is not permitted to log in'),
        ("mysql", (1045, "Access denied for user 'panda'@'10.0.0.1' (using password: YES)")),
        ("oracle", "ORA-01017: invalid username/password; logon denied"),
        ("oracle", "ORA-28000: the account is locked"),
    ],
)
def test_an_account_that_is_not_let_in_is_not_tried_again_or_it_would_be_locked(backend: str, said: Any) -> None:
    error = Exception(*said) if isinstance(said, tuple) else Exception(said)
    assert drivers.DRIVERS[backend].refused(error)


def test_systemd_is_told_of_every_outcome(postgres_node: Any, systemd: Any) -> None:
    postgres_node.environment["NOTIFY_SOCKET"] = str(systemd.path)
    good = dict(postgres_node.server)

    def told(code: int, **server: Any) -> str:
        postgres_node.server = {**good, **server}
        postgres_node.write()
        before = len(systemd.messages)
        assert postgres_node.run("schema", "check").returncode == code
        (message,) = systemd.messages[before:]
        assert message.startswith("STATUS=DB schema check: ")
        # What follows a line's end is another variable to systemd.
        assert "\n" not in message
        return str(message).removeprefix("STATUS=DB schema check: ")

    assert "no schema is installed" in told(3)
    assert 'database "nowhere" does not exist' in told(4, dbname="nowhere")
    assert "user panda is refused" in told(2, dbpasswd="wrong")
    faults = told(2, dbport="x", dbuser="")
    assert "dbport: " in faults
    assert "dbuser: " in faults
    postgres_node.server = good
    postgres_node.write()
    with Database(postgres_node.settings().database).writing("test") as connection:
        connection.execute(text("CREATE VIEW pandadb_version AS SELECT 1 AS x"))
    assert "cannot read the schema's version" in told(1)


def test_an_account_without_rights_gets_a_clear_answer(postgres_node: Any, postgres: Any) -> None:
    name = postgres_node.server["dbname"]
    with contextlib.closing(postgres.connect(name)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    postgres_node.server.update(dbuser="poor", dbpasswd="poor")
    postgres_node.write()
    done = postgres_node.run("schema", "upgrade")
    assert done.returncode == 1
    assert "permission denied for schema public" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_absent_database_is_unreachable(postgres_node: Any) -> None:
    postgres_node.server["dbport"] = 1
    postgres_node.write()
    for command in ("check", "upgrade"):
        done = postgres_node.run("schema", command)
        assert done.returncode == 4
        assert "postgres 127.0.0.1:1/" in done.stdout
        assert "Traceback" not in done.stdout


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("backend", ["postgres", "mysql", "oracle"])
def test_a_silent_database_is_unreachable_within_the_time_limit(node: Any, black_hole: int, backend: str) -> None:
    node.server = {"backend": backend, "dbhost": "127.0.0.1", "dbport": black_hole, "dbuser": "u", "dbpasswd": "p"}
    node.server["dbname"] = "panda"
    node.write()
    start = time.monotonic()
    with pytest.raises(DatabaseUnreachableError, match=r"127\.0\.0\.1"):
        version.check(node.settings().database, timeout=2)
    assert time.monotonic() - start < 5


def test_waiting_for_a_database_that_comes_back(postgres_node: Any, postgres: Any) -> None:
    postgres_node.install_schema()
    postgres.stop()
    try:
        assert postgres_node.run("schema", "check").returncode == 4
        waiting = postgres_node.popen("panda_node.cli", "schema", "check", "--wait", "30")
        time.sleep(1)
        assert waiting.poll() is None
    finally:
        postgres.start()
    output, _ = waiting.communicate(timeout=30)
    assert (waiting.returncode, output) == (0, OK)


def test_sqlite_needs_its_directory_and_the_check_makes_no_file(node: Any, tmp_path: Path) -> None:
    file = Path(str(node.server["dbname"]))
    assert node.run("schema", "check").returncode == 3
    assert not file.exists()
    node.server["dbname"] = tmp_path / "absent/panda.db"
    node.write()
    for command in ("check", "upgrade"):
        done = node.run("schema", command)
        assert done.returncode == 2
        assert f"there is no directory {tmp_path / 'absent'}" in done.stdout


def test_sqlite_is_read_while_it_is_written(node: Any) -> None:
    node.install_schema()
    connection = drivers.connect(node.settings().database)
    with contextlib.closing(sqlite3.connect(str(node.server["dbname"]))) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE pandadb_version SET patch = 5")
        cursor = connection.cursor()
        cursor.execute(version.BUNDLED.select)
        assert cursor.fetchone() == tuple(REQUIRED)
    connection.close()


def test_a_schema_check_is_fast(node: Any) -> None:
    """It runs before each start of the services; loading SQLAlchemy alone would take longer."""
    node.install_schema()
    script = (
        "import sys; from panda_node.cli import main; main(['schema', 'check']); print('sqlalchemy' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], env=node.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{OK}False\n"
