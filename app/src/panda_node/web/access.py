"""Who may call: finds the client's identity, keeps banned users out, and limits how often one client may ask."""

import ipaddress
import logging
import time

import falcon
from falcon import Request
from sqlalchemy import select

from panda_node import identity, log_files, oidc
from panda_node.config import Settings
from panda_node.db.pool import Database
from panda_node.db.tables import banned_users
from panda_node.identity import Identity
from panda_node.web.rate_limit import ADDRESSES, RateLimit
from panda_node.web.requests import client_address

BAN_LIST_LIFETIME = 60.0
"""Seconds within which a ban or its end reaches every worker."""

_log: logging.Logger = log_files.get(log_files.ENTRY)


class ForbiddenError(Exception):
    """Answered with 403 and a text, as the public package does."""


class Access:
    """The rules of one process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._banned: frozenset[str] = frozenset()
        self._banned_read = float("-inf")
        self._users = RateLimit(settings.rate_limit)
        self._production = RateLimit(settings.rate_limit_production)
        self._addresses = RateLimit(settings.rate_limit_anonymous, ADDRESSES)
        self._tokens: oidc.Tokens | None = None
        if settings.authentication == "oidc" and settings.auth_directory:
            self._tokens = oidc.Tokens(settings.auth_directory)
            for fault in self._tokens.faults.values():
                _log.error("no token login for one organisation: %s", fault)

    def identify(self, request: Request) -> Identity | None:
        """The client's identity; None if it shows none. A token that is no good is an error, not an anonymous call."""
        scheme, _, token = (request.get_header("Authorization") or "").partition(" ")
        if self._tokens and scheme.lower() == "bearer":
            try:
                return self._tokens.identify(token.strip(), request.get_header("Origin"))
            except oidc.TokenRefusedError as error:
                raise ForbiddenError(f"ERROR : Token authentication failed. {error}") from error
        if request.get_header("Sec-Fetch-Site") in ("cross-site", "same-site"):
            # A browser shows its owner's certificate to whatever page asks it to; a page of another site may not.
            raise ForbiddenError("ERROR : pages of other sites cannot call with your certificate")
        return identity.from_certificate({name: request.get_header(name) for name in identity.HEADERS})

    def is_production(self, client: Identity) -> bool:
        """Whether the client has the production role."""
        return client.has_production_role(self._settings.production_dns, self._settings.production_fqans)

    def admit(self, client: Identity, production: bool) -> None:
        """Refuses a client that is banned, or asks too often."""
        if not self._ban_list().isdisjoint((client.name, client.dn, client.key)):
            raise ForbiddenError(f"ERROR : Token authentication failed. User {client.name} is banned")
        _within((self._production if production else self._users).allows(client.key))

    def admit_anonymous(self, request: Request) -> None:
        """Refuses an address from which there are too many calls of methods that need no identity."""
        _within(self._addresses.allows(_network(client_address(request))))

    def _ban_list(self) -> frozenset[str]:
        now = time.monotonic()
        if now - self._banned_read > BAN_LIST_LIFETIME:
            with self._database.reading("ban list") as connection:
                self._banned = frozenset(connection.scalars(select(banned_users.c.user_name)))
            self._banned_read = now
        return self._banned


def _within(limit_kept: bool) -> None:
    if not limit_kept:
        raise falcon.HTTPTooManyRequests(description="too many requests, try again in a minute", retry_after=60)


def _network(address: str) -> str:
    """What one client holds: an IPv4 address, or the 2**64 of an IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
