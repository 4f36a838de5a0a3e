"""The PanDA database, made on a real PostgreSQL with pg_cron and pg_partman from a checkout of the real one's layout.

The real checkout is not in this repository: the files here are ours, and as small as what they have to show.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.panda.provision.plugins.module_utils.patches import losses

from .conftest import RunModule

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
SETTINGS = "shared_preload_libraries=pg_cron,pg_partman_bgw cron.database_name=postgres cron.use_background_workers=on"
PASSWORD = 'it\'s a \\ "%" password'
ORDER = [
    "init_step.sql", "pg_PANDA_TABLE.sql", "pg_PANDA_SCHEDULER_JOBS.sql", "pg_PANDAMETA_TABLE.sql",
    "pg_PARTITION.sql", "post_step_panda.sql", "post_step_cron.sql",
]  # fmt: skip

FILES = {
    "version": "0.1.6\n",
    "init_step.sql": r"""
SELECT 'CREATE DATABASE panda_db' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'panda_db')\gexec
SELECT E'CREATE USER panda PASSWORD \'${PANDA_DB_PASSWORD}\'' WHERE NOT EXISTS
  (SELECT FROM pg_roles WHERE rolname = 'panda')\gexec
CREATE EXTENSION IF NOT EXISTS pg_cron;
\c panda_db
CREATE SCHEMA IF NOT EXISTS partman;
CREATE EXTENSION IF NOT EXISTS pg_partman SCHEMA partman;
CREATE SCHEMA IF NOT EXISTS doma_panda AUTHORIZATION panda;
CREATE TABLE IF NOT EXISTS doma_panda.pandadb_version
  (component varchar(100) NOT NULL, major int NOT NULL, minor int NOT NULL, patch int NOT NULL);
""",
    # A type that another file of the same component would need comes after, a table before.
    "pg_PANDA_TABLE.sql": "CREATE TABLE doma_panda.jobs (id bigint NOT NULL, made timestamp NOT NULL)"
    " PARTITION BY RANGE (made);",
    "pg_PANDA_SCHEDULER_JOBS.sql": "CREATE VIEW doma_panda.busy AS SELECT site FROM doma_panda.worker_node_queue;",
    "pg_PANDAMETA_TABLE.sql": "CREATE SCHEMA doma_pandameta; CREATE TABLE doma_pandameta.users (name text);",
    "pg_PARTITION.sql": "SELECT partman.create_parent(p_parent_table => 'doma_panda.jobs', p_control => 'made',"
    " p_type => 'range', p_interval => 'monthly');",
    "post_step_panda.sql": "GRANT ALL ON ALL TABLES IN SCHEMA doma_panda TO panda;",
    "post_step_cron.sql": "SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT 1');",
    "patches/0.1.6.patch.sql": "CREATE TABLE doma_panda.made_by_0_1_6 ();",
    "patches/0.1.10.patch.sql": "ALTER TABLE doma_panda.made_by_0_1_9 ADD COLUMN x int;",
    "patches/0.1.9.patch.sql": "CREATE TABLE doma_panda.made_by_0_1_9 ();",
    "patches/0.1.9.cron.patch.sql": "SELECT cron.schedule('hourly', '0 * * * *', 'SELECT 1');",
    "patches/next_version.patch.sql": "SELECT 'not to be run' / 0;",
}


@dataclass
class Server:
    """A PostgreSQL server of the test's own, and a checkout to make its database from."""

    folder: Path
    port: int
    account: dict[str, Any]
    run_module: RunModule

    def program(self, name: str, *arguments: str) -> str:
        command = [str(PROGRAMS / name), f"--pgdata={self.folder}/data", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **self.account)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, settings: str) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off "
        options += " ".join(f"-c {setting}" for setting in settings.split())
        log = f"--log={self.folder}/log"
        self.program("pg_ctl", "--wait", "--silent", "--mode=fast", log, f"--options={options}", "restart")

    def rules(self, *lines: str) -> None:
        """Put lines before all others of pg_hba.conf."""
        file = self.folder / "data" / "pg_hba.conf"
        file.write_text("\n".join((*lines, file.read_text())))

    def query(self, database: str, statement: str, user: str = "postgres", password: str = "") -> str:
        command = [
            "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--port={self.port}",
            f"--host={'127.0.0.1' if password else self.folder}", f"--username={user}", f"--dbname={database}",
            f"--command={statement}",
        ]  # fmt: skip
        environment = {**os.environ, "PGPASSWORD": password}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        for name, text in {**FILES, **files}.items():
            path = self.folder / "checkout" / ("" if name == "version" else "sqls") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def schema(
        self, state: str, *, check: bool = False, password: str = PASSWORD, allow_loss: bool = False
    ) -> dict[str, Any]:
        return self.run_module(
            "panda_schema",
            {
                "folder": str(self.folder / "checkout"),
                "state": state,
                "password": password,
                "allow_loss": allow_loss,
                "port": self.port,
                "account": self.account.get("user", "postgres"),
            },
            check=check,
            environment={"PGHOST": str(self.folder), "PGUSER": "postgres"},
        )


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, run_module: RunModule) -> Iterator[Server]:
    """A server with both extensions at hand, and no database of PanDA's."""
    # Not tmp_path: its parent is closed to the server's account, and a socket's path has to be short.
    folder = Path(tmp_path_factory.mktemp("pg"))
    for parent in folder.parents[:3]:
        if parent.owner() == folder.owner() and parent != Path("/tmp"):
            parent.chmod(0o755)
    folder.chmod(0o777)
    account: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(folder, port, account, run_module)
    server.program("initdb", "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync")
    server.start(SETTINGS)
    server.write()
    yield server
    server.program("pg_ctl", "--wait", "--silent", "--mode=immediate", "stop")


def test_the_database_is_made_in_order_with_both_faults_mended(server: Server) -> None:
    would = server.schema("created", check=True)
    assert (would["changed"], would["applied"]) == (True, ORDER)
    assert server.query("postgres", "SELECT 1 FROM pg_database WHERE datname = 'panda_db'") == ""
    done = server.schema("created")
    assert done.get("msg") is None, done
    assert (done["changed"], done["before"], done["after"], done["applied"]) == (True, "", "0.1.6", ORDER)
    version = "SELECT component, major, minor, patch FROM doma_panda.pandadb_version"
    assert server.query("panda_db", version, "panda", PASSWORD) == "PanDA|0|1|6"
    assert server.query("panda_db", "SELECT to_regclass('doma_panda.worker_node_queue')") != ""
    # pg_partman 4 takes the parent only as `native`.
    assert server.query("panda_db", "SELECT partition_type FROM partman.part_config") == "native"
    assert server.query("postgres", "SELECT jobname FROM cron.job") == "nightly"


def test_a_database_that_holds_something_is_not_created_over(server: Server) -> None:
    server.schema("created")
    again = server.schema("created")
    assert again["failed"]
    assert "holds PanDA's schema 0.1.6 already" in again["msg"]
    server.query("panda_db", "DELETE FROM doma_panda.pandadb_version")
    half = server.schema("created")
    assert "holds tables (doma_panda, doma_pandameta) and no version" in half["msg"]
    assert server.query("panda_db", "SELECT count(*) FROM doma_panda.jobs") == "0"


def test_tables_of_anybody_are_not_created_over(server: Server) -> None:
    server.query("postgres", "CREATE DATABASE panda_db")
    server.query("panda_db", "CREATE SCHEMA atlas_panda; CREATE TABLE atlas_panda.jobs (); CREATE TABLE public.x ()")
    for check in (True, False):
        assert "holds tables (atlas_panda, public) and no version" in server.schema("created", check=check)["msg"]
    assert server.query("panda_db", "SELECT to_regclass('doma_panda.jobs')") == ""


def test_a_role_that_is_there_gets_the_password_that_the_nodes_will_log_in_with(server: Server) -> None:
    server.query("postgres", "CREATE ROLE panda PASSWORD 'of an earlier one'")
    would = server.schema("created", check=True)
    assert "the role panda is there already" in str(would["warnings"])
    done = server.schema("created")
    assert done.get("msg") is None, done
    assert "the role panda is there already" in str(done["warnings"])
    assert server.query("panda_db", "SELECT 1", "panda", PASSWORD) == "1"


def test_an_error_names_its_file_and_leaves_no_version(server: Server) -> None:
    server.write(**{"pg_PANDAMETA_TABLE.sql": "CREATE TABLE nowhere.users (name text);"})
    failed = server.schema("created")
    assert 'schema "nowhere" does not exist' in failed["msg"]
    assert failed["applied"] == ORDER[:3]
    assert server.query("panda_db", "SELECT count(*) FROM doma_panda.pandadb_version") == "0"


def test_an_upgrade_applies_what_lies_between_by_number_and_not_by_letters(server: Server) -> None:
    server.schema("created")
    server.write(version="0.1.10\n")
    would = server.schema("upgraded", check=True)
    assert server.query("panda_db", "SELECT to_regclass('doma_panda.made_by_0_1_9')") == ""
    done = server.schema("upgraded")
    assert done.get("msg") is None, done
    assert would["applied"] == done["applied"]
    expected = ["patches/0.1.9.patch.sql", "patches/0.1.9.cron.patch.sql", "patches/0.1.10.patch.sql"]
    assert (done["before"], done["after"], done["applied"]) == ("0.1.6", "0.1.10", expected)
    assert server.query("panda_db", "SELECT major, minor, patch FROM doma_panda.pandadb_version") == "0|1|10"
    assert server.query("postgres", "SELECT count(*) FROM cron.job") == "2"
    again = server.schema("upgraded")
    assert (again["changed"], again["applied"]) == (False, [])


def test_a_patch_that_partitions_a_table_is_mended_as_well(server: Server) -> None:
    server.schema("created")
    table = "CREATE TABLE doma_panda.nodes (seen timestamp NOT NULL) PARTITION BY RANGE (seen);"
    partitioned = FILES["pg_PARTITION.sql"].replace("jobs", "nodes").replace("made", "seen")
    server.write(version="0.1.9\n", **{"patches/0.1.9.patch.sql": table + partitioned})
    done = server.schema("upgraded")
    assert (done.get("msg"), done["after"]) == (None, "0.1.9")
    types = "SELECT parent_table, partition_type FROM partman.part_config ORDER BY parent_table"
    assert server.query("panda_db", types) == "doma_panda.jobs|native\ndoma_panda.nodes|native"


# A routine's body ends transactions when it is called, not when it is made.
ROUTINE = """CREATE PROCEDURE doma_panda.tidy() LANGUAGE plpgsql AS $$
BEGIN
    COMMIT; -- CALL doma_panda.tidy()
END;
$$;"""


def test_a_patch_that_fails_leaves_nothing_and_is_repeated_when_mended(server: Server) -> None:
    server.schema("created")
    begun = f"-- COMMIT when done\n{ROUTINE}\nCREATE TABLE doma_panda.made_by_0_1_9 ();\n"
    # As the real ones do, the last thing that a patch says is its version.
    bumped = "UPDATE doma_panda.pandadb_version SET patch = 9;"
    server.write(version="0.1.9\n", **{"patches/0.1.9.patch.sql": f"{begun}SELECT 1 / 0;\n{bumped}"})
    failed = server.schema("upgraded")
    assert "division by zero" in failed["msg"]
    assert failed["msg"].endswith("Nothing of patches/0.1.9.patch.sql is left: mend what it says, and repeat.")
    server.write(version="0.1.9\n", **{"patches/0.1.9.patch.sql": begun + bumped})
    done = server.schema("upgraded")
    assert (done.get("msg"), done.get("before"), done.get("after")) == (None, "0.1.6", "0.1.9")


def test_what_one_transaction_cannot_hold_is_named_as_what_is_left_to_do(server: Server) -> None:
    server.schema("created")
    version = "SELECT patch FROM doma_panda.pandadb_version"
    apart = "CREATE INDEX CONCURRENTLY x ON doma_panda.worker_node_queue (site);\nSELECT 1 / 0;"
    server.write(version="0.1.9\n", **{"patches/0.1.9.patch.sql": apart})
    failed = server.schema("upgraded")
    assert "0.1.9.patch.sql cannot be one transaction, and what stands before the error is done" in failed["msg"]
    assert server.query("panda_db", "SELECT to_regclass('doma_panda.x')") == "doma_panda.x"
    assert server.query("panda_db", version) == "6"

    cron = "SELECT cron.schedule('hourly', '0 * * * *', 'SELECT 1');\nSELECT 1 / 0;"
    server.write(version="0.1.9\n", **{"patches/0.1.9.cron.patch.sql": cron})
    failed = server.schema("upgraded")
    assert "Nothing of patches/0.1.9.cron.patch.sql is left, and 0.1.9 is recorded" in failed["msg"]
    assert server.query("postgres", "SELECT jobname FROM cron.job") == "nightly"
    assert server.query("panda_db", version) == "9"


# As the real 0.0.30 does, which ends its transaction by itself.
DROPS = """-- DROP TABLE doma_panda.users would be a comment
BEGIN;
DROP VIEW doma_panda.busy;
DROP TABLE IF EXISTS
    doma_panda.worker_node_queue;
COMMIT;
TRUNCATE TABLE doma_panda.pandadb_version;
INSERT INTO doma_panda.pandadb_version VALUES ('PanDA', 0, 1, 9);
"""


def test_a_patch_that_takes_rows_is_not_run_unless_the_operator_says_so(server: Server) -> None:
    server.schema("created")
    server.query("panda_db", "INSERT INTO doma_panda.worker_node_queue VALUES ('a', 'b', 'c')")
    server.write(version="0.1.10\n", **{"patches/0.1.9.patch.sql": "CREATE TABLE doma_panda.made_by_0_1_9 ();"})
    server.write(
        version="0.1.10\n",
        **{"patches/0.1.10.patch.sql": DROPS, "patches/0.1.10.cron.patch.sql": "DELETE FROM doma_pandameta.users;"},
    )
    for check in (True, False):
        refused = server.schema("upgraded", check=check)
        assert "patches/0.1.10.patch.sql, line 4: DROP TABLE IF EXISTS doma_panda.worker_node_queue" in refused["msg"]
        assert "patches/0.1.10.cron.patch.sql, line 1: DELETE FROM doma_pandameta.users" in refused["msg"]
        assert "-e panda_database_allow_loss=true" in refused["msg"]
        # Not even what is no reason, nor the patch before.
        assert "pandadb_version" not in refused["msg"]
        assert server.query("panda_db", "SELECT count(*) FROM doma_panda.worker_node_queue") == "1"
        assert server.query("panda_db", "SELECT patch FROM doma_panda.pandadb_version") == "6"
    server.write(
        version="0.1.10\n", **{"patches/0.1.10.patch.sql": DROPS, "patches/0.1.10.cron.patch.sql": "SELECT 1;"}
    )
    done = server.schema("upgraded", allow_loss=True)
    assert done["after"] == "0.1.10"
    assert "DROP TABLE IF EXISTS doma_panda.worker_node_queue" in str(done["warnings"])
    assert server.query("panda_db", "SELECT to_regclass('doma_panda.worker_node_queue')") == ""


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE jobs",
        'drop table if exists other, only doma_panda."jobs" cascade',
        "TRUNCATE jobs",
        "TRUNCATE TABLE ONLY doma_panda.jobs RESTART IDENTITY",
        "DELETE FROM doma_panda.jobs WHERE name = 'x;y'",
        "WITH old AS (DELETE FROM ONLY jobs RETURNING *) INSERT INTO archive SELECT * FROM old",
        "ALTER TABLE doma_panda.jobs DROP COLUMN name",
        "ALTER TABLE IF EXISTS ONLY jobs ADD COLUMN a int, ALTER b DROP NOT NULL, DROP name",
        "DROP SCHEMA doma_panda CASCADE",
        "DROP TYPE state CASCADE",
        "DO $$ BEGIN IF true THEN DROP TABLE jobs; END IF; END $$",
        "DO LANGUAGE plpgsql $x$ BEGIN EXECUTE 'it''s'; TRUNCATE jobs; END $x$",
        "ALTER TABLE jobs RENAME TO jobs_old; CREATE TABLE jobs (); DROP TABLE jobs_old",
        "\\echo it's\nDROP TABLE jobs",
        "SELECT E'it\\'s'; DROP TABLE jobs; SELECT 'x'",
    ],
)
def test_what_takes_rows(statement: str) -> None:
    (loss,) = losses(f"-- it's\n\n{statement};", {"jobs"})
    assert loss.startswith("line ")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (); DROP TABLE mine",
        "DROP VIEW jobs_view; DROP MATERIALIZED VIEW seen; DROP INDEX jobs_idx; DROP FUNCTION jobs()",
        "DROP TRIGGER IF EXISTS t ON jobs CASCADE",
        "ALTER TABLE jobs DROP CONSTRAINT jobs_fk, ALTER COLUMN x DROP  NOT NULL, ALTER y DROP\nDEFAULT",
        "ALTER TABLE jobs ADD COLUMN x int; ALTER TABLE mine DROP COLUMN y",
        "GRANT SELECT, DELETE, TRUNCATE ON jobs TO panda; REVOKE TRUNCATE  ON jobs FROM public",
        "CREATE TRIGGER t BEFORE DELETE OR TRUNCATE ON jobs EXECUTE FUNCTION f()",
        "ALTER TABLE x ADD FOREIGN KEY (a) REFERENCES jobs ON DELETE CASCADE",
        "COMMENT ON TABLE jobs IS 'before DROP TABLE jobs; it''s gone'",
        "/* DROP TABLE jobs; */ SELECT 1",
        "CREATE PROCEDURE tidy() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM jobs; END $$",
        "SELECT cron.schedule('@daily', $$DELETE FROM jobs WHERE seen < now() - interval '3 days'$$)",
    ],
)
def test_what_takes_none(statement: str) -> None:
    assert losses(f"{statement};", {"jobs"}) == []


def test_jobs_that_could_not_log_in_are_named_before_anything_is_made(server: Server) -> None:
    server.start(SETTINGS.replace("workers=on", "workers=off"))
    server.rules("local postgres all trust", "local all panda peer")
    refused = server.schema("created")
    assert "cron.use_background_workers is off" in refused["msg"]
    assert "set it on, and restart the server" in refused["msg"]
    assert server.query("postgres", "SELECT 1 FROM pg_database WHERE datname = 'panda_db'") == ""
    # As in the public image.
    server.rules("local all panda trust")
    assert server.schema("created", check=True).get("msg") is None
    # Who has a filled database may have another way for them to log in.
    server.schema("created")
    server.write(version="0.1.9\n")
    server.rules("local all panda peer")
    done = server.schema("upgraded")
    assert done["after"] == "0.1.9"
    assert "cron.use_background_workers is off" in str(done["warnings"])


def test_a_cron_patch_goes_to_the_database_of_pg_cron(server: Server) -> None:
    server.schema("created")
    server.query("postgres", "DROP EXTENSION pg_cron")
    server.start(SETTINGS.replace("cron.database_name=postgres", "cron.database_name=panda_db"))
    server.write(version="0.1.9\n")
    refused = server.schema("upgraded")
    assert "pg_cron is not in the database panda_db, which cron.database_name names" in refused["msg"]
    assert "patches/0.1.9.cron.patch.sql" in refused["msg"]
    assert server.query("panda_db", "SELECT patch FROM doma_panda.pandadb_version") == "6"
    server.query("panda_db", "CREATE EXTENSION pg_cron")
    assert server.schema("upgraded")["after"] == "0.1.9"
    assert server.query("panda_db", "SELECT jobname FROM cron.job") == "hourly"

    server.start("shared_preload_libraries=")
    server.write(version="0.1.10\n", **{"patches/0.1.10.cron.patch.sql": "SELECT cron.unschedule('hourly');"})
    assert "shared_preload_libraries lacks pg_cron" in server.schema("upgraded", check=True)["msg"]


def test_an_upgrade_that_partitions_wants_pg_partman_before_it_begins(server: Server) -> None:
    server.schema("created")
    server.query("panda_db", "DROP EXTENSION pg_partman CASCADE")
    server.write(version="0.1.10\n", **{"patches/0.1.10.patch.sql": FILES["pg_PARTITION.sql"]})
    refused = server.schema("upgraded")
    assert "pg_partman is not in panda_db, and patches/0.1.10.patch.sql needs it" in refused["msg"]
    assert server.query("panda_db", "SELECT patch FROM doma_panda.pandadb_version") == "6"


def test_an_upgrade_that_leads_nowhere_is_refused(server: Server) -> None:
    assert "no PanDA schema to upgrade" in server.schema("upgraded")["msg"]
    server.schema("created")
    server.write(version="0.2.0\n")
    assert "has no patch to 0.2.0: it leads from 0.1.6 to 0.1.10" in server.schema("upgraded")["msg"]
    server.write(version="0.1.5\n")
    assert "the checkout is older (0.1.5)" in server.schema("upgraded")["msg"]


def test_what_is_missing_is_named_before_anything_is_made(server: Server) -> None:
    assert "password: is empty" in server.schema("created", password="")["msg"]
    server.write(version="main\n")
    assert "/version: 'main' is no version like 0.1.6" in server.schema("created")["msg"]
    shutil.rmtree(server.folder / "checkout")
    assert "holds neither a file version nor patches" in server.schema("created")["msg"]
    assert server.query("postgres", "SELECT 1 FROM pg_database WHERE datname = 'panda_db'") == ""


def test_the_version_is_read_where_the_checkout_has_it(server: Server) -> None:
    checkout = server.folder / "checkout"
    (checkout / "version").rename(checkout / "sqls" / "version")
    assert server.schema("created", check=True)["after"] == "0.1.6"
    (checkout / "sqls" / "version").unlink()
    done = server.schema("created", check=True)
    assert done["after"] == "0.1.10"
    assert "taken to be 0.1.10, the highest of its patches" in str(done["warnings"])
