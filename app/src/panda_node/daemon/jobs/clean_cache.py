"""Removes uploaded files that nobody has used for long."""

import time

from sqlalchemy import delete, select

from panda_node.daemon.job import JobContext
from panda_node.db.tables import cache_files

DEFAULT_DAYS = 14.0


def run(context: JobContext) -> str:
    """Of this node's cache only; the first argument is the age in days. Folders and what is not ours stay."""
    days = float(context.arguments[0]) if context.arguments else DEFAULT_DAYS
    oldest = time.time() - days * 86400
    directory = context.settings.cache_directory
    removed = 0
    for file in directory.iterdir() if directory.is_dir() else ():
        if file.is_file() and not file.is_symlink() and file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
            removed += 1
    # Whatever took a file away, its row no longer counts towards its owner's quota.
    with context.database.reading("cached files") as connection:
        known = connection.scalars(select(cache_files.c.name).where(cache_files.c.host == context.settings.host)).all()
    gone = [name for name in known if not (directory / name).exists()]
    for start in range(0, len(gone), 500):
        with context.database.writing("clean cache") as connection:
            names = cache_files.c.name.in_(gone[start : start + 500])
            connection.execute(delete(cache_files).where(names, cache_files.c.host == context.settings.host))
    return f"{removed} files removed"
