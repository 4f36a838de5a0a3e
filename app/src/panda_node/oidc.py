"""Tokens of OpenID Connect: which organisations may send them, and whether one is good."""

import json
import re
import ssl
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from panda_node.identity import Identity
from panda_node.timed import SharedCall

AUTH_SUFFIX = "_auth_config.json"
REQUIRED = ("audience", "client_id", "client_secret", "oidc_config_url", "vo")
KEYS_LIFETIME = 600.0
"""Seconds after which an issuer's keys are fetched anew."""
KEYS_PAUSE = 10.0
"""An unknown key makes us ask the issuer again, but not more often than this: anyone can make up key ids."""
KEYS_PATIENCE = 2.0
"""Seconds that a call waits for keys, once in KEYS_PAUSE; those that come later serve later calls."""
FETCH_TIMEOUT = 5.0
LEEWAY = 30
"""Seconds by which clocks may differ."""
_ALGORITHMS = ["RS256"]


class TokenRefusedError(Exception):
    """The token is no good; the text tells the client why, and nothing about us."""


@dataclass(frozen=True)
class Organisation:
    """One auth_config file."""

    vo: str
    client_ids: frozenset[str]
    configuration_url: str
    robots: frozenset[str]
    auto_roles: frozenset[str]
    wlcg_profile: bool


def read_organisations(directory: Path) -> tuple[dict[str, Organisation], dict[str, str]]:
    """Reads all files of a folder: the good ones by name (vo or vo.role), and what is wrong with the others."""
    good: dict[str, Organisation] = {}
    bad: dict[str, str] = {}
    for file in sorted(directory.glob(f"*{AUTH_SUFFIX}")):
        name = file.name.removesuffix(AUTH_SUFFIX).replace(":", ".")
        try:
            good[name] = _organisation(json.loads(file.read_text(encoding="utf-8")))
        except json.JSONDecodeError as error:
            bad[name] = f"{file}: not a JSON document: {error}"
        except (OSError, ValueError) as error:
            bad[name] = f"{file}: {error}"
    return good, bad


def _organisation(content: object) -> Organisation:
    if not isinstance(content, dict):
        raise ValueError("must be one JSON object")
    if missing := [key for key in REQUIRED if key not in content]:
        raise ValueError(f"lacks {', '.join(missing)}; client_secret may be null")
    url = content["oidc_config_url"]
    if not isinstance(url, str) or not url.startswith("https://"):
        raise ValueError("oidc_config_url must begin with https://")
    if content.get("no_verify"):
        raise ValueError("no_verify is not supported: a token that nobody checked proves nothing")
    identifiers = [content["client_id"], content["audience"], *_list(content.get("secondary_ids"))]
    return Organisation(
        vo=str(content["vo"]),
        client_ids=frozenset(str(identifier) for identifier in identifiers if identifier),
        configuration_url=url,
        robots=frozenset(_list(content.get("robot_ids"))),
        auto_roles=frozenset(_list(content.get("auto_roles"))),
        wlcg_profile=content.get("jwt_profile") == "wlcg",
    )


def _list(value: object) -> list[str]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return [str(item) for item in value] if isinstance(value, list) else []


class Tokens:
    """Checks tokens for all organisations of one folder. An organisation whose file is bad has no token login, and its
    members are told so; the others are not concerned."""

    def __init__(self, directory: Path) -> None:
        self.organisations, self.faults = read_organisations(directory)
        self._issuers: dict[str, _Issuer] = {}

    def identify(self, token: str, origin: str | None) -> Identity:
        """The identity that a good token proves; `origin` is the client's header: vo, vo:role or vo.role."""
        if not origin:
            raise TokenRefusedError("The Origin header is missing; it names the organisation")
        vo, role = split_origin(origin)
        name = f"{vo}.{role}" if role else vo
        organisation = self.organisations.get(name) or (None if name in self.faults else self.organisations.get(vo))
        if organisation is None:
            if name in self.faults or vo in self.faults:
                raise TokenRefusedError(f"The server's configuration for {vo} is broken; please tell its operators")
            raise TokenRefusedError("Unknown organisation in the Origin header")
        url = organisation.configuration_url
        issuer = self._issuers.setdefault(url, _Issuer(url))
        claims = issuer.claims(token)
        audience = claims.get("aud")
        shown = [claims.get("client_id"), claims["sub"], *(audience if isinstance(audience, list) else [audience])]
        if organisation.client_ids.isdisjoint(item for item in shown if isinstance(item, str)):
            raise TokenRefusedError("Invalid audience")
        _check_groups(claims, organisation, vo, role)
        return _identity(claims, vo, role)


def split_origin(origin: str) -> tuple[str, str]:
    """Organisation and role. `vo.example.eu` is one name: its dots part no role off, a colon does."""
    if ":" in origin:
        vo, _, role = origin.partition(":")
    elif origin.startswith("vo."):
        vo, role = origin, ""
    else:
        vo, _, role = origin.partition(".")
    if not re.fullmatch(r"[\w.-]{1,64}", vo) or not re.fullmatch(r"[\w-]{0,64}", role):
        raise TokenRefusedError("Unknown organisation in the Origin header")
    return vo, role


def _check_groups(claims: dict[str, Any], organisation: Organisation, vo: str, role: str) -> None:
    groups = claims.get("wlcg.groups" if organisation.wlcg_profile else "groups")
    if groups is None and str(claims.get("sub")) in organisation.robots:
        return
    groups = {str(group).lstrip("/") for group in groups} if isinstance(groups, list) else set()
    if role and role not in organisation.auto_roles:
        if f"{vo}/{role}" not in groups:
            raise TokenRefusedError(f"Not a member of the {vo}/{role} group")
    elif vo not in groups:
        raise TokenRefusedError(f"Not a member of the {vo} group")


def _identity(claims: dict[str, Any], vo: str, role: str) -> Identity:
    def plain(claim: str) -> str:
        # Whoever may choose a name must not write parts of a DN into it.
        return " ".join(re.sub(r"[/=\x00-\x1f\x7f]", " ", str(claims.get(claim) or "")).split())[:200]

    subject = plain("sub")
    name = " ".join(word[:1].upper() + word[1:].lower() for word in plain("name").split()) or subject
    nickname = plain("preferred_username")
    dn = f"{name}/CN=nickname:{nickname}" if nickname else name
    fqans = (f"/{vo}/Role={role}",) if role else ()
    key = f"{claims['iss']} {claims['sub']}"[:512]
    return Identity(dn, key, name, vo, fqans, production=role == "production")


class _Issuer:
    """One issuer's keys, fetched when they are needed and kept while it is away."""

    def __init__(self, configuration_url: str) -> None:
        self._url = configuration_url
        self._name = ""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._fetching = SharedCall(self._fetch, KEYS_PAUSE, KEYS_PATIENCE)

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says, once its signature, issuer and times are good."""
        try:
            key = self._key(str(jwt.get_unverified_header(token).get("kid") or ""))
            required = {"require": ["exp", "iss", "sub"], "verify_aud": False}
            return jwt.decode(token, key, _ALGORITHMS, options=required, issuer=self._name, leeway=LEEWAY)  # type: ignore[arg-type]
        except jwt.ExpiredSignatureError as error:
            raise TokenRefusedError("The token has expired") from error
        except jwt.InvalidIssuerError as error:
            raise TokenRefusedError("Invalid issuer") from error
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenRefusedError("Invalid token") from error

    def _key(self, kid: str) -> jwt.PyJWK:
        if kid not in self._keys or time.monotonic() - self._fetched > KEYS_LIFETIME:
            try:
                self._fetching()
            except Exception as error:  # whatever an issuer may do
                if kid not in self._keys:
                    raise TokenRefusedError("The issuer's keys cannot be fetched; try again later") from error
        key = self._keys.get(kid)
        if key is None:
            raise TokenRefusedError("Signed with an unknown key")
        return key

    def _fetch(self) -> None:
        document = _get_json(self._url)
        keys = jwt.PyJWKSet.from_dict(_get_json(document["jwks_uri"])).keys
        self._name = document["issuer"]
        self._keys = {key.key_id or "": key for key in keys}
        self._fetched = time.monotonic()


def _get_json(url: str) -> Any:
    if not url.startswith("https://"):
        raise ValueError(f"{url}: not https")
    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT, context=ssl.create_default_context()) as answer:
        return json.loads(answer.read(1_000_000))
