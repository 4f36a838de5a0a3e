"""The API's OpenAPI document, made from the methods' signatures: there is nothing to keep in step by hand."""

import inspect
import json
import types
import typing
from typing import Any

from falcon import Request, Response

from panda_node import __version__
from panda_node.untrusted import MAX_INTEGER
from panda_node.web.arguments import Upload
from panda_node.web.methods import METHODS, Method

_SCALARS: dict[Any, dict[str, object]] = {
    int: {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    Upload: {"type": "string", "format": "binary"},
    types.NoneType: {"type": "null"},
}
_ENVELOPE = {
    "type": "object",
    "required": ["success", "message", "data"],
    "properties": {"success": {"type": "boolean"}, "message": {"type": "string"}, "data": {}},
}


def _answer(description: str) -> dict[str, object]:
    schema = {"schema": {"$ref": "#/components/schemas/Envelope"}}
    return {"description": description, "content": {"application/json": schema}}


_ANSWERS: dict[str, object] = {
    "200": _answer("Done if `success`; else `message` says why not"),
    "400": _answer("The body cannot be read"),
    "403": {
        "description": "Not JSON, a token that is refused, or a banned user",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    },
    "413": _answer("The body is too large"),
    "415": _answer("Neither JSON nor a form"),
    "429": _answer("Too many requests of this identity or address"),
    "503": _answer("The database is away or busy; try again"),
}


def document() -> dict[str, object]:
    """The whole document."""
    paths: dict[str, dict[str, object]] = {}
    for (group, name), method in sorted(METHODS.items()):
        operations = paths.setdefault(f"/api/v1/{group}/{name}", {})
        for http_method in filter(None, (method.http_method, method.also)):
            operations[http_method.lower()] = _operation(group, name, http_method, method)
    security = {
        "certificate": {"type": "mutualTLS", "description": "X.509, or a proxy of it"},
        "token": {"type": "http", "scheme": "bearer", "description": "with the header Origin: vo[:role]"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "PanDA server, bundled application", "version": __version__},
        "paths": paths,
        "components": {"schemas": {"Envelope": _ENVELOPE}, "securitySchemes": security},
    }


def _operation(group: str, name: str, http_method: str, method: Method) -> dict[str, object]:
    parameters = method.signature.parameters
    text = inspect.getdoc(method.handler) or ""
    operation: dict[str, object] = {
        "operationId": f"{group}_{name}_{http_method.lower()}",
        "tags": [group],
        "summary": text.partition("\n")[0],
        "responses": _ANSWERS,
        "security": [{"certificate": []}, {"token": []}] if method.secure else [],
    }
    if method.production:
        operation["description"] = f"{text}\n\nNeeds the production role."
    if http_method == "GET":
        operation["parameters"] = [
            {
                "name": key,
                "in": "query",
                "required": _required(parameter),
                "schema": _schema(parameter.annotation, False),
            }
            for key, parameter in parameters.items()
        ]
    elif parameters:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": [key for key, parameter in parameters.items() if _required(parameter)],
            "properties": {key: _schema(parameter.annotation, True) for key, parameter in parameters.items()},
        }
        upload = any(parameter.annotation is Upload for parameter in parameters.values())
        content_type = "multipart/form-data" if upload else "application/json"
        operation["requestBody"] = {"required": True, "content": {content_type: {"schema": schema}}}
    return operation


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _schema(annotation: Any, null: bool) -> dict[str, object]:
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    found = [_one(option) for option in options if null or option is not types.NoneType]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _one(kind: Any) -> dict[str, object]:
    if typing.get_origin(kind) is list:
        return {"type": "array", "items": _one(typing.get_args(kind)[0])}
    return _SCALARS[typing.get_origin(kind) or kind]


class OpenApi:
    """GET /api/v1/openapi.json."""

    def __init__(self) -> None:
        self._text = json.dumps(document())

    def on_get(self, _: Request, response: Response) -> None:
        response.text = self._text

    on_head = on_get
