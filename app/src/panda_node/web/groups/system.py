"""/api/v1/system/: is the server there, and whom does it take the client for?"""

import re
from collections.abc import Iterable

from panda_node.web.methods import Call, method

_VARIABLES = {
    "X-Forwarded-Proto": "HTTP_X_FORWARDED_PROTO",
    "X-Forwarded-For": "HTTP_X_FORWARDED_FOR",
    "X-SSL-Client-Verify": "SSL_CLIENT_VERIFY",
    "X-SSL-Client-S-DN": "SSL_CLIENT_S_DN",
    "X-SSL-Client-I-DN": "SSL_CLIENT_I_DN",
    "Origin": "HTTP_ORIGIN",
    "User-Agent": "HTTP_USER_AGENT",
    "Host": "HTTP_HOST",
}
"""The headers that say who sent a request, without credentials, and what the public package calls them."""
_GROUP_PRODUCTION = re.compile(r"/([^/]+)/([^/]+)/Role=production(?:/|$)")


@method("GET", secure=False, limited=False)  # balancers and monitors ask all the time
def is_alive(call: Call) -> None:
    """Says that the application serves; asks nothing of the database."""


@method("GET")
def get_attributes(call: Call) -> dict[str, object]:
    """What the server knows of this request: the headers that say who sent it, without credentials."""
    request = call.request
    headers = {name: request.get_header(name) for name in (*_VARIABLES, "X-GRST-VOMS-FQANs")}
    # Made of what is shown anyway: the process's own environment has the secrets.
    environment = {variable: headers[name] for name, variable in _VARIABLES.items() if headers[name]}
    environment |= {"REQUEST_METHOD": request.method, "PATH_INFO": request.path, "SSL_CLIENT_S_DN": _subject(call)}
    environment |= {f"GRST_CRED_AUTH_TOKEN_{place}": f"VOMS {fqan}" for place, fqan in enumerate(call.client.fqans)}
    said = {"method": request.method, "path": request.path, "headers": headers}
    return {**said, "parameters": {}, "environment": environment, **_client(call)}


@method("GET")
def get_user_attributes(call: Call) -> dict[str, object]:
    """Who the client is, and what it may do."""
    groups, primary = _working_groups(call.client.fqans)
    return {
        **_client(call),
        "user_dn_raw": _subject(call),
        "user_dn_clean": call.client.name,
        "is_production_user": call.production,
        "production_working_groups": groups,
        "primary_working_group": primary,
    }


def _subject(call: Call) -> str:
    """The DN as it was shown; of a token, which shows none, the one that it stands for."""
    return call.request.get_header("X-SSL-Client-S-DN") or call.client.dn


def _working_groups(fqans: Iterable[str]) -> tuple[list[str], str | None]:
    """What the public package reads from a proxy's production roles; nothing depends on it here."""
    groups: list[str] = []
    primary = None
    for vo, group in (match.groups() for fqan in fqans if (match := _GROUP_PRODUCTION.search(fqan))):
        # The role of usatlas is that of all of ATLAS.
        if group != "usatlas":
            primary = group.split("-")[-1].lower()
            if vo == "atlas" and group not in groups:
                groups += [group, f"gr_{group}"]
    return groups, primary


def _client(call: Call) -> dict[str, object]:
    client = call.client
    return {
        "user": client.name,
        "dn": client.dn,
        "vo": client.vo,
        "fqans": list(client.fqans),
        "production": call.production,
    }
