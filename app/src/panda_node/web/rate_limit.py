"""How often one identity may ask, counted over all workers of a node."""

import mmap
import struct
import time
import zlib

_SLOTS = 65536
_SLOT = struct.Struct("=II")  # minute, requests in it

# Made when gunicorn's arbiter imports this, so that every worker forked from it writes the same memory. There is no
# lock: two workers that count at the same instant may lose one of the two, which a limit can bear.
_memory = mmap.mmap(-1, _SLOTS * _SLOT.size)


class RateLimit:
    """So many requests a minute; 0 is no limit."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute

    def allows(self, key: str) -> bool:
        """Counts a request, and says whether it is still within the limit."""
        if not self._per_minute:
            return True
        minute = int(time.time() // 60) & 0xFFFFFFFF
        # Two identities in one slot would share their limit; with 65536 slots that is rare, and harmless.
        offset = zlib.crc32(key.encode("utf-8", "replace")) % _SLOTS * _SLOT.size
        then, count = _SLOT.unpack_from(_memory, offset)
        count = count + 1 if then == minute else 1
        _SLOT.pack_into(_memory, offset, minute, min(count, 0xFFFFFFFF))
        return count <= self._per_minute
