"""The methods of /api/v1: how one is declared, what it gets, and how it refuses."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from falcon import Request

from panda_node.config import Settings
from panda_node.db.pool import Database
from panda_node.errors import RefusalError
from panda_node.identity import Identity

__all__ = ["METHODS", "Answer", "Call", "Method", "RefusalError", "json_value", "method"]

Handler = Callable[..., object]
Function = TypeVar("Function", bound=Handler)


@dataclass(frozen=True)
class Method:
    """One method: its HTTP method, its function, and who may call it."""

    http_method: str
    handler: Handler
    secure: bool = False
    """Needs an identity."""
    production: bool = False
    """Needs the production role."""
    also: str = ""
    """A second HTTP method that is taken: released clients and servers do not always agree."""
    limited: bool = True
    """Counts towards what a client may ask in a minute. False where the answer costs next to nothing."""

    @cached_property
    def signature(self) -> inspect.Signature:
        """The function's arguments, without the call."""
        signature = inspect.signature(self.handler)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


@dataclass(frozen=True)
class Call:
    """What a method gets besides its arguments."""

    request: Request
    settings: Settings
    database: Database
    identity: Identity | None
    production: bool

    @property
    def client(self) -> Identity:
        """The identity, in a method that needs one."""
        assert self.identity is not None
        return self.identity


@dataclass(frozen=True)
class Answer:
    """Data with a message; a method without one returns its data alone."""

    data: object
    message: str = ""


METHODS: dict[tuple[str, str], Method] = {}


def method(
    http_method: str, secure: bool = True, production: bool = False, also: str = "", limited: bool = True
) -> Callable[[Function], Function]:
    """Makes a function of a module in web/groups the method /api/v1/<module>/<function>."""

    def register(handler: Function) -> Function:
        group = handler.__module__.rpartition(".")[2]
        METHODS[group, handler.__name__] = Method(http_method, handler, secure, production, also, limited)
        return handler

    return register


def json_value(value: Any) -> object:
    """How the public package writes what JSON has no type for; for json.dumps."""
    if isinstance(value, datetime):
        return {"__datetime__": value.isoformat()}
    raise TypeError(f"no JSON for {type(value).__name__}")
