#!/usr/bin/python
"""Create or upgrade the PanDA database on the host of its PostgreSQL server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: panda_schema
short_description: Create or upgrade the PanDA database in PostgreSQL
description:
  - Runs the SQL files of a checkout of the panda-database repository (its folder C(schema/postgres)) in the order in
    which they depend on each other, and records the version that the checkout states, in the file C(version) there or
    in C(sqls). Where it has no such file, it is that of its highest patch, as each version brings one.
  - Two faults of these files are mended in what is run, not in the checkout. C(pg_PANDA_SCHEDULER_JOBS.sql) refers to
    a table C(worker_node_queue) that only a patch creates, so it is created before. pg_partman 4 wants C(native) where
    C(pg_PARTITION.sql) and patches say C(range).
  - A patch and the version that it leads to are one transaction, so that one that fails leaves nothing behind and can
    be repeated. A patch that has something that no transaction can hold, or ends transactions of its own, is run
    statement by statement.
  - A database that holds tables is not created over. Patches that would take rows from tables that are there are not
    run unless C(allow_loss) says so.
options:
  folder:
    description: The checkout's folder C(schema/postgres) on this host.
    type: path
    required: true
  state:
    description:
      - C(created) fills a database that is not there or empty.
      - C(upgraded) applies, in order, the patches between the version that is installed and that of the checkout.
    type: str
    choices: [created, upgraded]
    required: true
  password:
    description: Password of the role panda, which C(created) makes, or gives this password where it is there.
    type: str
    default: ""
  allow_loss:
    description:
      - Whether patches may take rows from tables that are there. Those that would, by DROP TABLE, DROP COLUMN, DROP
        SCHEMA, TRUNCATE or DELETE, are named before any is run. What a statement makes up (EXECUTE) or calls is not
        seen.
    type: bool
    default: false
  account:
    description: Account of this host that is PostgreSQL's superuser.
    type: str
    default: postgres
  port:
    description: Port of the server, on its local socket.
    type: int
    default: 5432
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Create the PanDA database
  panda.provision.panda_schema:
    folder: /srv/panda-database/schema/postgres
    state: created
    password: "{{ panda_server_dbpasswd }}"
"""

RETURN = r"""
before: {description: Version that was installed; empty where none was., type: str, returned: success}
after: {description: Version that is installed., type: str, returned: success}
applied: {description: 'Files that were run, or would be.', type: list, elements: str, returned: success}
"""

import os
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.patches import apart, losses

DATABASE = "panda_db"  # statements are made of it and of numbers only, hence their noqa
RUNBOOK = "docs/runbooks/database.md"
COMPONENTS = ("PANDA", "PANDAMETA", "PANDAARCH", "PANDABIGMON", "DEFT", "PARTITION")
PARTS = ("", "_TABLE", "_VIEW", "_TYPE", "_SEQUENCE", "_FUNCTION", "_TRIGGER", "_SCHEDULER_JOBS", "_PROCEDURE")
SCHEDULER_JOBS = "pg_PANDA_SCHEDULER_JOBS.sql"
RANGE = re.compile(r"(p_type\s*=>\s*)'range'")
VERSION = re.compile(r"\d+\.\d+\.\d+")
PATCH = re.compile(rf"({VERSION.pattern})\.patch\.sql")
WORKER_NODE_QUEUE = """
CREATE TABLE IF NOT EXISTS doma_panda.worker_node_queue (
    site varchar(128) NOT NULL,
    host_name varchar(128) NOT NULL,
    panda_queue varchar(128) NOT NULL,
    last_seen timestamp,
    PRIMARY KEY (site, host_name, panda_queue)
);
ALTER TABLE doma_panda.worker_node_queue OWNER TO panda;
"""
# Tables that somebody filled: not PostgreSQL's own, nor the extensions', nor what init_step.sql leaves empty.
TABLES = (
    "FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'cron', 'partman') "
    "AND (schemaname, tablename) <> ('doma_panda', 'pandadb_version')"
)
PARTMAN = "SELECT extversion FROM pg_extension WHERE extname = 'pg_partman'"
# The first rule that fits counts. The jobs log in over the local socket, by the files as the role panda.
RULE = (
    "SELECT auth_method FROM pg_hba_file_rules WHERE type = 'local' "  # noqa: S608  DATABASE is a constant
    f"AND database && ARRAY['all', '{DATABASE}'] AND user_name && ARRAY['all', 'panda'] ORDER BY line_number LIMIT 1"
)
CRON_DATABASE = "SELECT datname FROM pg_database WHERE datname = current_setting('cron.database_name', true)"
LOCKED_OUT = (
    "cron.use_background_workers is off, and pg_hba.conf does not trust the role panda on the local socket, so that "
    "pg_cron's jobs would fail one and all: set it on, and restart the server"
)
INSTALLED = (
    "SELECT major || '.' || minor || '.' || patch FROM doma_panda.pandadb_version "
    "WHERE component IN ('PanDA', 'SERVER') ORDER BY component LIMIT 1"
)


def number(version: str) -> tuple[int, ...]:
    """A version that can be compared."""
    return tuple(int(part) for part in version.split("."))


class Schema:
    """The database of this host, and the files it is made from."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.checkout = Path(module.params["folder"])
        self.folder = self.checkout / "sqls"
        self.applied: list[str] = []

    def psql(self, database: str, *arguments: str, stdin: str | None = None, left: str = "") -> str:
        """What psql prints. `left` says what it leaves behind where it fails."""
        command = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--port={self.module.params['port']}",
                   f"--dbname={database}", *arguments]  # fmt: skip
        if os.geteuid() == 0:
            command = ["runuser", "--user", self.module.params["account"], "--", *command]
        code, out, err = self.module.run_command(command, data=stdin, cwd="/")
        if code != 0:
            last = f" Run before it: {', '.join(self.applied)}." if self.applied else ""
            self.module.fail_json(
                msg=f"psql ended with {code}: {err.strip() or out.strip()}.{last} {left or 'Nothing was dropped.'}",
                applied=self.applied,
            )
        return str(out).strip()

    def ask(self, database: str, statement: str) -> str:
        return self.psql(database, "--tuples-only", "--no-align", f"--command={statement}")

    def read_file(self, name: str) -> str:
        """A file as it is, or as it has to be."""
        text = (self.folder / name).read_text(encoding="utf-8")
        if name == SCHEDULER_JOBS:
            text = WORKER_NODE_QUEUE + text
        if RANGE.search(text) and number(self.ask(DATABASE, PARTMAN))[0] < 5:
            text = RANGE.sub(r"\1'native'", text)
        return text

    def run_file(self, name: str, database: str = DATABASE) -> None:
        if not self.module.check_mode:
            self.psql(database, "--file=-", stdin=self.read_file(name))
        self.applied.append(name)

    def wanted(self) -> str:
        """The version of the checkout."""
        # Its documentation names the first place, its own script reads the second.
        for file in (self.checkout / "version", self.folder / "version"):
            if file.is_file():
                version = file.read_text(encoding="utf-8").strip()
                if not VERSION.fullmatch(version):
                    self.module.fail_json(msg=f"{file}: '{version}' is no version like 0.1.6. Nothing was changed.")
                return version
        if not self.patches():
            self.module.fail_json(
                msg=f"{self.checkout} holds neither a file version nor patches in sqls/patches: name a checkout of "
                "panda-database with its folder schema/postgres. Nothing was changed."
            )
        version = self.patches()[-1]
        self.module.warn(f"{self.checkout} has no file version: taken to be {version}, the highest of its patches.")
        return version

    def patches(self) -> list[str]:
        """Versions that the checkout has patches to, in order."""
        names = (PATCH.fullmatch(path.name) for path in (self.folder / "patches").glob("*.patch.sql"))
        return sorted((match[1] for match in names if match), key=number)

    def installed(self) -> str:
        """The version in the database; empty where there is no database, or none of PanDA's."""
        if not self.ask("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):  # noqa: S608
            return ""
        if not self.ask(DATABASE, "SELECT to_regclass('doma_panda.pandadb_version')"):
            return ""
        return self.ask(DATABASE, INSTALLED)

    def refuse_unprepared_server(self) -> None:
        faults = []
        known = self.ask("postgres", "SELECT string_agg(name, ' ') FROM pg_available_extensions").split()
        preloaded = self.ask("postgres", "SHOW shared_preload_libraries")
        for extension, library in (("pg_cron", "pg_cron"), ("pg_partman", "pg_partman_bgw")):
            if extension not in known:
                faults.append(f"the extension {extension} is not installed beside the server")
            elif library not in preloaded:
                faults.append(f"shared_preload_libraries lacks {library}")
        if not faults and self.ask("postgres", "SHOW cron.database_name") != "postgres":
            faults.append("cron.database_name has to be postgres, where init_step.sql makes pg_cron")
        if not faults and self.jobs_are_locked_out():
            faults.append(LOCKED_OUT)
        if faults:
            self.module.fail_json(msg=f"the server is not prepared: {'; '.join(faults)}. Nothing was changed.")

    def jobs_are_locked_out(self) -> bool:
        """Whether pg_cron would have to log in for its jobs, and has no password for it."""
        if self.ask("postgres", "SELECT current_setting('cron.use_background_workers', true)") == "on":
            return False
        return self.ask("postgres", RULE) != "trust"

    def refuse_unprepared_upgrade(self, versions: list[str]) -> None:
        """Look before the first patch at what a later one needs."""
        faults, lost, crons = [], [], []
        tables = set(self.ask(DATABASE, f"SELECT tablename {TABLES}").splitlines())
        for version in versions:
            name, cron = f"patches/{version}.patch.sql", f"patches/{version}.cron.patch.sql"
            text = (self.folder / name).read_text(encoding="utf-8")
            lost += [f"{name}, {loss}" for loss in losses(text, tables)]
            if RANGE.search(text) and not self.ask(DATABASE, PARTMAN):
                faults.append(f"pg_partman is not in {DATABASE}, and {name} needs it")
            if (self.folder / cron).is_file():
                crons.append(cron)
                lost += [f"{cron}, {loss}" for loss in losses((self.folder / cron).read_text(encoding="utf-8"), tables)]
        if lost and self.module.params["allow_loss"]:
            self.module.warn(f"rows of {DATABASE} are lost, as was allowed: {'; '.join(lost)}")
        elif lost:
            faults.append(
                f"patches take rows from tables that are there ({'; '.join(lost)}): where they may go, and a dump is "
                "made, allow it with -e panda_database_allow_loss=true"
            )
        if crons:
            place = self.cron_database()
            exists = self.ask(
                "postgres", "SELECT 1 FROM pg_database WHERE datname = current_setting('cron.database_name', true)"
            )
            if not place:
                faults.append(f"shared_preload_libraries lacks pg_cron, which {', '.join(crons)} needs")
            elif not exists or not self.ask(place, "SELECT 1 FROM pg_extension WHERE extname = 'pg_cron'"):
                faults.append(
                    f"pg_cron is not in the database {place}, which cron.database_name names, and {', '.join(crons)} "
                    "needs it: set that to the one that has it, and restart the server, or make the extension there"
                )
            elif self.jobs_are_locked_out():
                self.module.warn(f"{LOCKED_OUT}. Where PostgreSQL's account has a .pgpass for it, they do.")
        if faults:
            self.module.fail_json(msg=f"{DATABASE} is not upgraded: {'; '.join(faults)}. Nothing was changed.")

    def cron_database(self) -> str:
        """The database that pg_cron looks for its jobs in; empty where it is not loaded."""
        return self.ask("postgres", "SELECT current_setting('cron.database_name', true)")

    def create(self, before: str, wanted: str) -> str:
        if before:
            self.module.fail_json(
                msg=f"{DATABASE} holds PanDA's schema {before} already: it is not created anew. To bring it to "
                f"{wanted}, use panda_database_state=upgraded. Nothing was changed."
            )
        exists = self.ask("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")  # noqa: S608
        filled = self.ask(DATABASE, f"SELECT string_agg(DISTINCT schemaname, ', ') {TABLES}") if exists else ""
        if filled:
            self.module.fail_json(
                msg=f"{DATABASE} holds tables ({filled}) and no version: a creation did not get to its end, or they "
                "are somebody else's. Look at them; what is to go has to be dropped by hand. Nothing was changed."
            )
        if not self.module.params["password"]:
            self.module.fail_json(msg="password: is empty, and the role panda needs one. Nothing was changed.")
        self.refuse_unprepared_server()
        # init_step.sql makes it only where it is missing, and would leave it another password.
        known = self.ask("postgres", "SELECT 1 FROM pg_roles WHERE rolname = 'panda'")
        if known:
            self.module.warn(
                "the role panda is there already: the password given becomes its own, for all databases of this server."
            )
        if not self.module.check_mode:
            text = (self.folder / "init_step.sql").read_text(encoding="utf-8")
            password = self.module.params["password"].replace("\\", "\\\\").replace("'", "''")
            # There it stands between the quotes of a string with escapes, which stands in another string.
            nested = password.replace("'", "''")
            self.psql("postgres", "--file=-", stdin=text.replace("${PANDA_DB_PASSWORD}", nested))
            if known:
                self.psql("postgres", "--file=-", stdin=f"ALTER ROLE panda LOGIN PASSWORD E'{password}'")
        self.applied.append("init_step.sql")
        for component in COMPONENTS:
            for part in PARTS:
                if (self.folder / f"pg_{component}{part}.sql").is_file():
                    self.run_file(f"pg_{component}{part}.sql")
        self.run_file("post_step_panda.sql")
        self.run_file("post_step_cron.sql", database="postgres")
        if not self.module.check_mode:
            # Last: only a schema that is complete has a version.
            columns = wanted.replace(".", ", ")
            self.ask(DATABASE, f"INSERT INTO doma_panda.pandadb_version VALUES ('PanDA', {columns})")  # noqa: S608
        return wanted

    def upgrade(self, before: str, wanted: str) -> str:
        if not before:
            self.module.fail_json(msg=f"{DATABASE} holds no PanDA schema to upgrade; use panda_database_state=created")
        if number(before) > number(wanted):
            self.module.fail_json(
                msg=f"{DATABASE} is at {before}, and the checkout is older ({wanted}). Nothing was changed."
            )
        versions = self.steps(before, wanted)
        self.refuse_unprepared_upgrade(versions)
        for version in versions:
            self.apply(version)
        return wanted if before != wanted else before

    def apply(self, version: str) -> None:
        """Apply a patch and record its version, then its cron patch, which is of another database."""
        name, cron = f"patches/{version}.patch.sql", f"patches/{version}.cron.patch.sql"
        if self.module.check_mode:
            self.applied += [name, cron] if (self.folder / cron).is_file() else [name]
            return
        text = self.read_file(name)
        whole = not apart(text)
        left = f"Nothing of {name} is left: mend what it says, and repeat."
        if not whole:
            left = f"{name} cannot be one transaction, and what stands before the error is done: see {RUNBOOK}."
        major, minor, patch = version.split(".")
        record = f"UPDATE doma_panda.pandadb_version SET major = {major}, minor = {minor}, patch = {patch}"  # noqa: S608
        together = ["--single-transaction"] if whole else []
        self.psql(DATABASE, *together, "--file=-", f"--command={record}", stdin=text, left=left)
        self.applied.append(name)
        if (self.folder / cron).is_file():
            text = (self.folder / cron).read_text(encoding="utf-8")
            place = self.cron_database()
            left = f"Nothing of {cron} is left, and {version} is recorded; it belongs in {place}: see {RUNBOOK}."
            self.psql(place, "--single-transaction", "--file=-", stdin=text, left=left)
            self.applied.append(cron)

    def steps(self, before: str, wanted: str) -> list[str]:
        """Versions of the patches to apply, in order; each version between has to have one."""
        chosen = [version for version in self.patches() if number(before) < number(version) <= number(wanted)]
        if before != wanted and (not chosen or chosen[-1] != wanted):
            self.module.fail_json(
                msg=f"{self.folder}/patches has no patch to {wanted}: it leads from {before} to "
                f"{chosen[-1] if chosen else 'nowhere'}. Nothing was changed."
            )
        return chosen


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["created", "upgraded"], "required": True},
            "password": {"type": "str", "default": "", "no_log": True},
            "allow_loss": {"type": "bool", "default": False},
            "account": {"type": "str", "default": "postgres"},
            "port": {"type": "int", "default": 5432},
        },
        supports_check_mode=True,
    )
    schema = Schema(module)
    wanted = schema.wanted()
    before = schema.installed()
    try:
        after = (schema.create if module.params["state"] == "created" else schema.upgrade)(before, wanted)
    except OSError as error:
        module.fail_json(msg=str(error), applied=schema.applied)
    module.exit_json(changed=before != after, before=before, after=after, applied=schema.applied)


if __name__ == "__main__":
    main()
