"""What every request gets: an id, a line in panda-Entry.log, its metrics, and a clear answer when something fails."""

import json
import re
import time
import uuid
from typing import Any

import falcon
from falcon import Request, Response
from gunicorn.http.errors import NoMoreData, ParseException

from panda_node import log_files, metrics
from panda_node.errors import ConfigurationError, DatabaseUnreachableError
from panda_node.web.arguments import BROKEN_OFF
from panda_node.web.methods import json_value

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._@-]{8,64}")

_log = log_files.get(log_files.ENTRY)


class RequestRecorder:
    """Middleware: begins and ends the record of each request."""

    def process_request(self, request: Request, response: Response) -> None:
        given = request.get_header("X-Request-Id") or ""
        request.context.id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.context.start = time.perf_counter()
        request.context.route = None
        request.context.client = None
        response.set_header("X-Request-Id", request.context.id)

    def process_response(self, request: Request, response: Response, resource: object, succeeded: bool) -> None:
        seconds = time.perf_counter() - request.context.start
        # A client may ask for any path; only routes of ours become label values.
        route = request.context.route or request.uri_template or "other"
        method = known_method(request.method)
        metrics.answered(route, method, response.status_code, seconds)
        _log.info(
            "%s %s %s %d %.1f ms client=%s user=%s",
            request.context.id,
            method,
            _printable(request.path),
            response.status_code,
            seconds * 1000,
            _printable(client_address(request)),
            _printable(request.context.client or "-"),
        )


def add_error_handlers(application: "falcon.App[Request, Response]") -> None:
    """Makes every failure an answer in the API's envelope, with nothing of the inside in it."""
    application.add_error_handler(Exception, _unexpected)
    application.add_error_handler(DatabaseUnreachableError, _database_unreachable)
    # Once we run: the database has gone, or lets us in no more.
    application.add_error_handler(ConfigurationError, _database_unreachable)
    application.add_error_handler(falcon.HTTPError, _http_error)
    # gunicorn's, of a body that comes in chunks.
    application.add_error_handler(NoMoreData, _broken_off)
    application.add_error_handler(ParseException, _broken_off)
    application.add_sink(_not_found, prefix="/")


def known_method(method: str) -> str:
    """The method as a metric's label, of which a client cannot make others."""
    return method if method in _METHODS else "OTHER"


def envelope(response: Response, success: bool, message: str = "", data: object = None) -> None:
    """The public package's form of every API answer."""
    response.content_type = falcon.MEDIA_JSON
    response.text = json.dumps({"success": success, "message": message, "data": data}, default=json_value)


def _unexpected(request: Request, response: Response, error: Exception, _: dict[str, Any]) -> None:
    _log.error("%s failed", request.context.id, exc_info=error)
    response.status = falcon.HTTP_500
    envelope(response, False, f"internal error; the operators find it under request id {request.context.id}")


def _database_unreachable(request: Request, response: Response, error: Exception, _: dict[str, Any]) -> None:
    _log.error("%s failed: %s", request.context.id, error)
    response.status = falcon.HTTP_503
    response.retry_after = 10
    envelope(response, False, "database unreachable, try again later")


def _http_error(_request: Request, response: Response, error: falcon.HTTPError, _: dict[str, Any]) -> None:
    response.status = error.status
    response.set_headers(error.headers or {})
    envelope(response, False, error.description or error.title or str(error.status))


def _broken_off(_request: Request, response: Response, _error: Exception, _: dict[str, Any]) -> None:
    response.status = falcon.HTTP_400
    envelope(response, False, BROKEN_OFF)


def _not_found(req: Request, resp: Response, **kwargs: Any) -> None:
    resp.status = falcon.HTTP_404
    envelope(resp, False, "there is nothing here")


def client_address(request: Request) -> str:
    """The address that httpd saw; behind a balancer that passes TLS through, the balancer's."""
    # httpd appends the address it saw; what stands before it came from the client and proves nothing.
    forwarded = request.get_header("X-Forwarded-For") or request.remote_addr or "-"
    return forwarded.rpartition(",")[2].strip()


def _printable(text: str) -> str:
    """Keeps one request one line, whatever the client sent."""
    return "".join(character if character.isprintable() else "?" for character in text[:500]) or "-"
