"""/api/v1/system/: is the server there, and whom does it take the client for?"""

from panda_node.web.methods import Call, method


@method("GET", secure=False, limited=False)  # balancers and monitors ask all the time
def is_alive(call: Call) -> None:
    """Says that the application serves; asks nothing of the database."""


@method("GET")
def get_attributes(call: Call) -> dict[str, object]:
    """What the server knows of this request: the headers that say who sent it, without credentials."""
    certificate = ("X-SSL-Client-Verify", "X-SSL-Client-S-DN", "X-SSL-Client-I-DN", "X-GRST-VOMS-FQANs")
    names = ("X-Forwarded-Proto", "X-Forwarded-For", *certificate, "Origin", "User-Agent", "Host")
    headers = {name: call.request.get_header(name) for name in names}
    return {"method": call.request.method, "path": call.request.path, "headers": headers, **_client(call)}


@method("GET")
def get_user_attributes(call: Call) -> dict[str, object]:
    """Who the client is, and what it may do."""
    return _client(call)


def _client(call: Call) -> dict[str, object]:
    client = call.client
    return {
        "user": client.name,
        "dn": client.dn,
        "vo": client.vo,
        "fqans": list(client.fqans),
        "production": call.production,
    }
