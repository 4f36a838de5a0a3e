"""/api/v1/<module>/<method>: dispatches a call, and wraps what comes of it."""

from collections.abc import Callable
from typing import Any

import falcon
from falcon import Request, Response

from panda_node.config import Settings
from panda_node.db.pool import Database
from panda_node.web import arguments
from panda_node.web.access import Access, ForbiddenError
from panda_node.web.groups import file_server, job, pilot, statistics, system, task
from panda_node.web.methods import METHODS, Answer, Call, Method, RefusalError
from panda_node.web.openapi import OpenApi
from panda_node.web.requests import envelope

__all__ = ["METHODS", "ApiV1", "Method"]

GROUPS = (system, task, job, pilot, file_server, statistics)
"""Importing them is what fills METHODS."""

MESSAGE_SSL = "SSL secure connection is required"
MESSAGE_PRODUCTION = "production or pilot role required"


class ApiV1:
    """Calls the method; a failure is HTTP 200 with success false, as in the public package."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._access = Access(settings, database)

    def on_get(self, request: Request, response: Response, module: str, method: str) -> None:
        entry = METHODS.get((module, method))
        if entry is None:
            request.context.route = "/api/other"
            forbid(response, method)
            return
        request.context.route = f"/api/v1/{module}/{method}"
        try:
            outcome = self.call(entry, request)
        except RefusalError as refusal:
            envelope(response, False, str(refusal), refusal.data)
        except ForbiddenError as error:
            forbidden_text(response, str(error))
        except arguments.InvalidJsonError as error:
            forbidden_text(response, f"ERROR : received invalid JSON : {error}")
        else:
            answer = outcome if isinstance(outcome, Answer) else Answer(outcome)
            envelope(response, True, answer.message, answer.data)

    on_head = on_post = on_put = on_delete = on_patch = on_get

    def call(self, method: Method, request: Request, read: Callable[[], dict[str, Any]] | None = None) -> object:
        """Calls the method with the request's arguments, or with what `read` makes of them.

        Nothing of a body is read before the client may call: it can be large, and can come as slowly as it likes.
        """
        identity = self._access.identify(request)
        request.context.client = identity.name if identity else None
        production = identity is not None and self._access.is_production(identity)
        if method.secure:
            if identity is None or identity.limited:
                raise RefusalError(MESSAGE_SSL)
            self._access.admit(identity, production)
            if method.production and not production:
                raise RefusalError(MESSAGE_PRODUCTION)
        elif method.limited and identity:
            self._access.admit(identity, production)
        elif method.limited:
            self._access.admit_anonymous(request)
        asked = "GET" if request.method == "HEAD" else request.method
        if read is None and asked not in (method.http_method, method.also):
            raise RefusalError(f"expecting {method.http_method}, received {asked}")
        call = Call(request, self._settings, self._database, identity, production)
        values = read() if read else arguments.read(request, method)
        return method.handler(call, **values)


def forbidden_text(response: Response, text: str) -> None:
    """The public package's form of what is not an envelope."""
    response.status = falcon.HTTP_403
    response.content_type = falcon.MEDIA_TEXT
    response.text = text


def forbid(response: Response, method: str) -> None:
    """The public package's answer to a method that it does not have."""
    forbidden_text(response, f"ERROR : method {method} is forbidden")


def add_routes(application: "falcon.App[Request, Response]", settings: Settings, database: Database) -> ApiV1:
    """Adds the API, and the answer to everything else below /api/."""
    api = ApiV1(settings, database)
    application.add_route("/api/v1/{module}/{method}", api)
    application.add_route("/api/v1/openapi.json", OpenApi())

    def unknown(req: Request, resp: Response, **kwargs: object) -> None:
        req.context.route = "/api/other"
        forbid(resp, req.path.rpartition("/")[2])

    application.add_sink(unknown, prefix="/api/")
    return api
