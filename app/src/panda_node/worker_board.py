"""Counts of all gunicorn workers in shared memory: each worker writes its own slot, the arbiter reads them all."""

import mmap
import struct
import threading
import time

SLOTS = 4096
_SLOT = struct.Struct("=QQ")  # requests answered, requests being answered


class WorkerBoard:
    """To be made in the arbiter before the first fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * _SLOT.size)
        self._free = list(range(SLOTS))
        self._finished = 0
        self._own = 0
        self._requests = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._last = (time.monotonic(), 0)

    def assign(self) -> int:
        """Arbiter: a slot for a new worker."""
        slot = self._free.pop(0)
        _SLOT.pack_into(self._memory, slot * _SLOT.size, 0, 0)
        return slot

    def take_back(self, slot: int) -> None:
        """Arbiter: the worker is gone; its requests stay counted."""
        requests, _ = _SLOT.unpack_from(self._memory, slot * _SLOT.size)
        self._finished += requests
        _SLOT.pack_into(self._memory, slot * _SLOT.size, 0, 0)
        self._free.append(slot)

    def use(self, slot: int) -> None:
        """Worker: this slot is mine."""
        self._own = slot
        self._requests = self._busy = 0

    def begin(self) -> None:
        """Worker: a request has come."""
        with self._lock:
            self._busy += 1
            self._write()

    def end(self) -> None:
        """Worker: a request has been answered."""
        with self._lock:
            self._busy -= 1
            self._requests += 1
            self._write()

    def status(self, capacity: int) -> str:
        """Arbiter: the line that `systemctl status` shows, worded as httpd's own."""
        slots = list(_SLOT.iter_unpack(self._memory))
        total = self._finished + sum(requests for requests, _ in slots)
        busy = sum(busy for _, busy in slots)
        now = time.monotonic()
        (then, before), self._last = self._last, (now, total)
        rate = (total - before) / (now - then) if now > then else 0.0
        idle = max(0, capacity - busy)
        return f"Total requests: {total}; Idle/Busy workers {idle}/{busy};Requests/sec: {rate:.3g}"

    def _write(self) -> None:
        _SLOT.pack_into(self._memory, self._own * _SLOT.size, self._requests, self._busy)
