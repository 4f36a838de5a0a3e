"""/api/v1/file_server/: the sandboxes that clients upload and pilots fetch from /cache/."""

import os
import re
import shutil
import struct
import time
import uuid
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from panda_node import log_files
from panda_node.db.tables import cache_files
from panda_node.web.arguments import MAX_UPLOAD, Upload
from panda_node.web.methods import Answer, Call, RefusalError, method

SMALL_UPLOAD = 100 * 1024 * 1024
"""Bytes of a file that is not called sources.*, as in the public package."""
MIN_FREE = 1024**3
"""Bytes of the cache's disk that uploads leave free: the logs, and on a small node the database, are on it too."""
MIN_COUNTED = 4096
"""An upload counts for so much at least: an empty file takes its place in the file system too."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_CHUNK = 1024 * 1024
# Directories that stand in the cache for other purposes.
_FOLDERS = ("schedconfig", "jedilog", "pilot")

_log = log_files.get(log_files.ENTRY)


@method("POST")
def validate_cache_file(call: Call, file_size: int, checksum: int | str) -> Answer:
    """Says where the client has uploaded the same file before, so that it need not again."""
    crc = checksum if isinstance(checksum, int) else int(checksum) if re.fullmatch(r"\d{1,18}", checksum) else -1
    same = (cache_files.c.size == file_size, cache_files.c.checksum == crc, cache_files.c.owner == call.client.key)
    with call.database.reading("cached file") as connection:
        row = connection.execute(select(cache_files).where(*same).order_by(cache_files.c.modified.desc())).first()
    if row is None:
        raise RefusalError("NOTFOUND")
    try:
        # In use again: the cleaning counts from now.
        os.utime(call.settings.cache_directory / row.name)
    except FileNotFoundError:
        if row.host == call.settings.host:
            raise RefusalError("NOTFOUND") from None
    return Answer(None, f"FOUND:{row.host}:{row.name}")


@method("POST")
def upload_cache_file(call: Call, file: Upload) -> None:
    """Takes a file into the cache, from where httpd serves it; an existing one is never replaced.

    The cache is a node's own disk, so a client's quota is one on each node. All workers ask the database for what
    counts towards it: before anything of the body is read, and when the file is in its place. Of two uploads at the
    same time at least one then sees both.
    """
    name = file.name.rpartition("/")[2]
    if not _NAME.fullmatch(name) or name in _FOLDERS:
        raise RefusalError("ERROR: a file name has letters, digits and _ . + - only, 200 at most")
    limit = MAX_UPLOAD if name.startswith("sources.") else SMALL_UPLOAD
    directory = call.settings.cache_directory
    directory.mkdir(parents=True, exist_ok=True)
    with call.database.reading("cache quota") as connection:
        _check_quota(connection, call)
    target = directory / name
    # Hidden until it is complete, and then put in place in one step that fails if somebody else was first.
    partial = directory / f".{uuid.uuid4().hex}.part"
    try:
        size, checksum = _write(partial, file, limit)
        try:
            os.link(partial, target)
        except FileExistsError:
            os.utime(target)
            raise RefusalError("ERROR: cannot overwrite file") from None
    finally:
        partial.unlink(missing_ok=True)
    row: dict[str, object] = {"name": name, "host": call.settings.host, "owner": call.client.key}
    row |= {"size": size, "checksum": checksum, "modified": int(time.time())}
    same = (cache_files.c.name == name) & (cache_files.c.host == call.settings.host)
    try:
        with call.database.writing("cached file") as connection:
            # The row of a file that somebody took away by hand.
            connection.execute(delete(cache_files).where(same))
            if connection.scalar(select(cache_files.c.name).where(cache_files.c.name == name)) is not None:
                # Another node has one, which would no longer be counted if this one took its row.
                raise RefusalError("ERROR: cannot overwrite file")
            connection.execute(insert(cache_files).values(**row))
        with call.database.reading("cache quota") as connection:
            _check_quota(connection, call)
    except BaseException:
        target.unlink(missing_ok=True)
        with call.database.writing("uncached file") as connection:
            connection.execute(delete(cache_files).where(same))
        raise


def _check_quota(connection: Connection, call: Call) -> None:
    quota = call.settings.cache_quota * 1024 * 1024
    if not quota:
        return
    mine = (cache_files.c.owner == call.client.key) & (cache_files.c.host == call.settings.host)
    counted = func.sum(cache_files.c.size + MIN_COUNTED)
    used = int(connection.scalar(select(counted).where(mine)) or 0)
    if used > quota:
        raise RefusalError(
            f"ERROR: upload failure. Your files on this server take {used >> 20} of {quota >> 20} MB. "
            "They are removed when they have not been used for long; please try again later."
        )


def _write(file: Path, upload: Upload, limit: int) -> tuple[int, int]:
    """Writes an upload to the file; returns its size, and the checksum that a gzip file ends with."""
    size, end = 0, b""
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "wb") as output:
        while chunk := upload.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise RefusalError(f"ERROR: upload failure. Exceeded size limit {size}>{limit}.")
            if shutil.disk_usage(file.parent).free < MIN_FREE:
                _log.error("no upload is taken: the disk of %s is nearly full", file.parent)
                raise RefusalError("ERROR: upload failure. The disk of this server is nearly full; try again later.")
            output.write(chunk)
            end = (end + chunk)[-8:]
    return size, struct.unpack("<II", end)[0] if len(end) == 8 else 0
