"""The tables. Migrations create them; a test holds the two together.

Times of the workload are whole seconds since 1970: every database compares and groups them alike, in any time zone.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    or_,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT

metadata = MetaData()

MAX_LISTED = 1000
"""Values that Oracle takes in one list."""


def among(column: "Column[Any]", values: Iterable[Any]) -> "ColumnElement[bool]":
    """`column IN (values)`, in as many lists as it takes."""
    given = list(values)
    lists = [column.in_(given[start : start + MAX_LISTED]) for start in range(0, len(given), MAX_LISTED)]
    return or_(*lists) if lists else false()


# MySQL's plain TEXT ends at 64 kB.
LongText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
# SQLite numbers rows by itself only where the type is called INTEGER.
Number = BigInteger().with_variant(Integer(), "sqlite")


def _number(name: str) -> "Column[int]":
    return Column(name, Number, Identity(), primary_key=True)


def _counted(name: str) -> "Column[Any]":
    return Column(name, BigInteger, nullable=False, server_default="0")


pandadb_version = Table(
    "pandadb_version",
    metadata,
    Column("component", String(50), primary_key=True),
    Column("major", Integer, nullable=False),
    Column("minor", Integer, nullable=False),
    Column("patch", Integer, nullable=False),
)

schedconfig_json = Table(
    "schedconfig_json",
    metadata,
    Column("panda_queue", String(100), primary_key=True),
    # JSON as text, which every database can hold.
    Column("data", LongText, nullable=False),
    Column("last_update", DateTime, nullable=False),
)

daemon_lock = Table(
    "daemon_lock",
    metadata,
    Column("job", String(100), primary_key=True),
    Column("owner", String(200)),
    # Seconds since 1970 by the database's clock, which all nodes share.
    Column("last_start", Double, nullable=False),
    Column("locked_until", Double, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    _number("task_id"),
    Column("name", String(512), nullable=False),
    Column("owner", String(512), nullable=False),  # the identity that may change it
    Column("user_name", String(256), nullable=False),  # what people and pbook call the owner
    Column("vo", String(64)),
    Column("label", String(20), nullable=False),  # prodSourceLabel
    Column("site", String(100)),
    Column("status", String(16), nullable=False),
    Column("diagnostics", String(500)),
    Column("priority", Integer, nullable=False),
    Column("parent_id", BigInteger),
    Column("parameters", LongText, nullable=False),
    _counted("created"),
    _counted("modified"),
    Index("ix_tasks_status", "status", "modified"),
    Index("ix_tasks_owner", "user_name", "modified"),
    Index("ix_tasks_name", "name", mysql_length=200),
)

jobs = Table(
    "jobs",
    metadata,
    _number("job_id"),
    Column("task_id", BigInteger().with_variant(Integer(), "sqlite"), ForeignKey("tasks.task_id")),
    _counted("serial"),  # place within the task, the same for every attempt
    Column("name", String(256)),
    Column("owner", String(512), nullable=False),
    Column("user_name", String(256), nullable=False),
    Column("label", String(20), nullable=False),
    Column("site", String(100), nullable=False),
    Column("status", String(16), nullable=False),
    Column("sub_status", String(80)),
    Column("reported", String(16)),  # finished or failed, as the pilot said it, until the adder has judged
    Column("command", String(32)),  # what the pilot is to be told
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("resource_type", String(16)),
    _counted("cores"),
    _counted("memory"),  # MB
    _counted("disk"),  # MB
    Column("transformation", String(500)),
    Column("parameters", LongText),
    Column("specification", LongText),  # JSON: all else that the submitter said
    Column("node", String(128)),
    Column("pilot_id", String(200)),
    Column("batch_id", String(80)),
    Column("scheduler_id", String(128)),
    Column("error_source", String(16)),  # pilot, payload, ddm or server
    Column("error_code", BigInteger),
    Column("error_text", String(500)),
    Column("exit_code", BigInteger),
    Column("measures", LongText),  # JSON: what the pilot measured
    Column("report", LongText),  # JSON: the pilot's job_output_report
    Column("log_extract", LongText),
    _counted("created"),
    _counted("modified"),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Index("ix_jobs_status", "status", "modified"),
    Index("ix_jobs_task", "task_id", "serial"),
)

# Waiting jobs of a queue in the very order in which they are handed out, so that the first one costs no sorting.
Index("ix_jobs_waiting", jobs.c.site, jobs.c.status, jobs.c.priority.desc(), jobs.c.job_id)

files = Table(
    "files",
    metadata,
    _number("file_id"),
    Column("job_id", BigInteger().with_variant(Integer(), "sqlite"), ForeignKey("jobs.job_id"), nullable=False),
    Column("type", String(16), nullable=False),  # input, output or log
    Column("lfn", String(512), nullable=False),
    Column("dataset", String(512)),
    Column("scope", String(64)),
    Column("guid", String(64)),
    Column("size", BigInteger),
    Column("checksum", String(64)),
    Column("status", String(16), nullable=False),
    Index("ix_files_job", "job_id"),
)

workers = Table(
    "workers",
    metadata,
    Column("harvester_id", String(100), primary_key=True),
    Column("worker_id", BigInteger, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("site", String(100)),
    Column("node", String(128)),
    _counted("jobs"),
    _counted("first_seen"),
    _counted("modified"),
    Index("ix_workers_modified", "modified"),
)

cache_files = Table(
    "cache_files",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("host", String(255), nullable=False),  # the node that has it
    Column("owner", String(512), nullable=False),
    _counted("size"),
    _counted("checksum"),
    _counted("modified"),
    Index("ix_cache_files_content", "checksum", "size"),
)

banned_users = Table(
    "banned_users",
    metadata,
    Column("user_name", String(256), primary_key=True),
    Column("reason", String(500)),
    _counted("since"),
)
