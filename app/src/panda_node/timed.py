"""Bounds a call that may hang inside a database driver, where the driver's own timeouts do not reach."""

import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class TimedCall(Generic[Result]):
    """A call running in a thread of its own. If it never ends, only that thread is lost, and it keeps no process up."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._done = Event()
        self._result: Result
        self._error: BaseException | None = None
        Thread(target=self._run, name="timed-call", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    @property
    def done(self) -> bool:
        """Whether the call has ended, well or not."""
        return self._done.is_set()

    def result(self, seconds: float) -> Result:
        """Waits so long at most; raises what the call raised, or TimeoutError."""
        if not self._done.wait(seconds):
            raise TimeoutError(f"no answer within {seconds:g} s")
        if self._error is not None:
            raise self._error
        return self._result


class SharedCall(Generic[Result]):
    """A call whose outcome serves all that ask within `lifetime` seconds, each of which waits `patience` at most.

    While one call hangs no other is made: a dead database costs a process one thread, not one for each that asks.
    """

    def __init__(self, function: Callable[[], Result], lifetime: float, patience: float) -> None:
        self._function = function
        self._lifetime = lifetime
        self._patience = patience
        self._lock = Lock()
        self._call: TimedCall[Result] | None = None
        self._asked = 0.0

    def __call__(self) -> Result:
        """Returns or raises as the call did; TimeoutError while it has not ended."""
        with self._lock:
            now = time.monotonic()
            if self._call is None or (self._call.done and now - self._asked > self._lifetime):
                self._call, self._asked = TimedCall(self._function), now
            call, left = self._call, max(0.0, self._asked + self._patience - now)
        return call.result(left)
