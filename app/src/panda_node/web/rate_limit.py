"""How often one identity, or one address, may ask: counted over all workers of a node."""

import mmap
import struct
import time
import zlib

_SLOTS = 65536
_SLOT = struct.Struct("=II")  # minute, requests in it

# Made when gunicorn's arbiter imports this, so that every worker forked from it writes the same memory. There is no
# lock: two workers that count at the same instant may lose one of the two, which a limit can bear.
# Addresses have a table of their own: who may choose one could else fill the slot of somebody's identity.
IDENTITIES = mmap.mmap(-1, _SLOTS * _SLOT.size)
ADDRESSES = mmap.mmap(-1, _SLOTS * _SLOT.size)


class RateLimit:
    """So many requests a minute; 0 is no limit."""

    def __init__(self, per_minute: int, table: mmap.mmap = IDENTITIES) -> None:
        self._per_minute = per_minute
        self._table = table

    def allows(self, key: str) -> bool:
        """Counts a request, and says whether it is still within the limit."""
        if not self._per_minute:
            return True
        minute = int(time.time() // 60) & 0xFFFFFFFF
        # Two of them in one slot would share their limit; with 65536 slots that is rare, and harmless.
        offset = zlib.crc32(key.encode("utf-8", "replace")) % _SLOTS * _SLOT.size
        then, count = _SLOT.unpack_from(self._table, offset)
        count = count + 1 if then == minute else 1
        _SLOT.pack_into(self._table, offset, minute, min(count, 0xFFFFFFFF))
        return count <= self._per_minute
