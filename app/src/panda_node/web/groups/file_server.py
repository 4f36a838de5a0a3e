"""/api/v1/file_server/: the sandboxes that clients upload and pilots fetch from /cache/."""

import os
import re
import struct
import time
import uuid
from typing import Any

from sqlalchemy import delete, insert, select

from panda_node.db.tables import cache_files
from panda_node.web.arguments import MAX_UPLOAD, Upload
from panda_node.web.methods import Answer, Call, RefusalError, method

SMALL_UPLOAD = 100 * 1024 * 1024
"""Bytes of a file that is not called sources.*, as in the public package."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_CHUNK = 1024 * 1024
# Directories that stand in the cache for other purposes.
_FOLDERS = ("schedconfig", "jedilog", "pilot")


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
    """Takes a file into the cache, from where httpd serves it; an existing one is never replaced."""
    name = file.name.rpartition("/")[2]
    if not _NAME.fullmatch(name) or name in _FOLDERS:
        raise RefusalError("ERROR: a file name has letters, digits and _ . + - only, 200 at most")
    limit = MAX_UPLOAD if name.startswith("sources.") else SMALL_UPLOAD
    directory = call.settings.cache_directory
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / name
    # Hidden until it is complete, and then put in place in one step that fails if somebody else was first.
    partial = directory / f".{uuid.uuid4().hex}.part"
    try:
        size, checksum = _write(partial, file.stream, limit)
        try:
            os.link(partial, target)
        except FileExistsError:
            os.utime(target)
            raise RefusalError("ERROR: cannot overwrite file") from None
    finally:
        partial.unlink(missing_ok=True)
    row: dict[str, object] = {"name": name, "host": call.settings.host, "owner": call.client.key}
    row |= {"size": size, "checksum": checksum, "modified": int(time.time())}
    with call.database.writing("cached file") as connection:
        connection.execute(delete(cache_files).where(cache_files.c.name == name))
        connection.execute(insert(cache_files).values(**row))


def _write(file: Any, stream: Any, limit: int) -> tuple[int, int]:
    """Writes the stream to the file; returns its size, and the checksum that a gzip file ends with."""
    size, end = 0, b""
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "wb") as output:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise RefusalError(f"ERROR: upload failure. Exceeded size limit {size}>{limit}.")
            output.write(chunk)
            end = (end + chunk)[-8:]
    return size, struct.unpack("<II", end)[0] if len(end) == 8 else 0
