"""The workload: tasks, jobs, their files, workers, cached files, and who is banned.

Adds tables only, so a release that does not know them keeps working beside one that does.
"""

import sqlalchemy as sa
from panda_node.db.migrations.missing import create_index, create_table
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0003"
down_revision = "0002"
version = (1, 2, 0)

_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _number(name: str) -> "sa.Column[int]":
    return sa.Column(name, _NUMBER, sa.Identity(), primary_key=True)


def _counted(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def upgrade() -> None:
    """Creates the tables and their indexes."""
    create_table(
        "tasks",
        _number("task_id"),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("owner", sa.String(512), nullable=False),
        sa.Column("user_name", sa.String(256), nullable=False),
        sa.Column("vo", sa.String(64)),
        sa.Column("label", sa.String(20), nullable=False),
        sa.Column("site", sa.String(100)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("diagnostics", sa.String(500)),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("parent_id", sa.BigInteger),
        sa.Column("parameters", _TEXT, nullable=False),
        _counted("created"),
        _counted("modified"),
    )
    create_index("ix_tasks_status", "tasks", ["status", "modified"])
    create_index("ix_tasks_owner", "tasks", ["user_name", "modified"])
    create_index("ix_tasks_name", "tasks", ["name"], mysql_length=200)
    create_table(
        "jobs",
        _number("job_id"),
        sa.Column("task_id", _NUMBER, sa.ForeignKey("tasks.task_id")),
        _counted("serial"),
        sa.Column("name", sa.String(256)),
        sa.Column("owner", sa.String(512), nullable=False),
        sa.Column("user_name", sa.String(256), nullable=False),
        sa.Column("label", sa.String(20), nullable=False),
        sa.Column("site", sa.String(100), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("sub_status", sa.String(80)),
        sa.Column("reported", sa.String(16)),
        sa.Column("command", sa.String(32)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("resource_type", sa.String(16)),
        _counted("cores"),
        _counted("memory"),
        _counted("disk"),
        sa.Column("transformation", sa.String(500)),
        sa.Column("parameters", _TEXT),
        sa.Column("specification", _TEXT),
        sa.Column("node", sa.String(128)),
        sa.Column("pilot_id", sa.String(200)),
        sa.Column("batch_id", sa.String(80)),
        sa.Column("scheduler_id", sa.String(128)),
        sa.Column("error_source", sa.String(16)),
        sa.Column("error_code", sa.BigInteger),
        sa.Column("error_text", sa.String(500)),
        sa.Column("exit_code", sa.BigInteger),
        sa.Column("measures", _TEXT),
        sa.Column("report", _TEXT),
        sa.Column("log_extract", _TEXT),
        _counted("created"),
        _counted("modified"),
        sa.Column("started", sa.BigInteger),
        sa.Column("ended", sa.BigInteger),
    )
    create_index("ix_jobs_waiting", "jobs", ["site", "status", sa.text("priority DESC"), "job_id"])
    create_index("ix_jobs_status", "jobs", ["status", "modified"])
    create_index("ix_jobs_task", "jobs", ["task_id", "serial"])
    create_table(
        "files",
        _number("file_id"),
        sa.Column("job_id", _NUMBER, sa.ForeignKey("jobs.job_id"), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("lfn", sa.String(512), nullable=False),
        sa.Column("dataset", sa.String(512)),
        sa.Column("scope", sa.String(64)),
        sa.Column("guid", sa.String(64)),
        sa.Column("size", sa.BigInteger),
        sa.Column("checksum", sa.String(64)),
        sa.Column("status", sa.String(16), nullable=False),
    )
    create_index("ix_files_job", "files", ["job_id"])
    create_table(
        "workers",
        sa.Column("harvester_id", sa.String(100), primary_key=True),
        sa.Column("worker_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("site", sa.String(100)),
        sa.Column("node", sa.String(128)),
        _counted("jobs"),
        _counted("first_seen"),
        _counted("modified"),
    )
    create_index("ix_workers_modified", "workers", ["modified"])
    create_table(
        "cache_files",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(512), nullable=False),
        _counted("size"),
        _counted("checksum"),
        _counted("modified"),
    )
    create_index("ix_cache_files_content", "cache_files", ["checksum", "size"])
    create_table(
        "banned_users",
        sa.Column("user_name", sa.String(256), primary_key=True),
        sa.Column("reason", sa.String(500)),
        _counted("since"),
    )
