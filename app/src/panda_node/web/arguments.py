"""Reads a call's arguments from query, JSON, form or multipart, within limits, and holds them to the method's types."""

import io
import types
import typing
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs

import falcon
from falcon import Request
from falcon.media.multipart import MultipartParseOptions

from panda_node import untrusted
from panda_node.web.methods import Method, RefusalError

MAX_BODY = 10 * 1024 * 1024
"""Bytes of a JSON or form body, as it comes and as it is after gunzip. Uploads have limits of their own."""
MAX_UPLOAD = 768 * 1024 * 1024
BROKEN_OFF = "the body breaks off"
_FORM = "application/x-www-form-urlencoded"
_GZIP_MAGIC = b"\x1f\x8b"


class InvalidJsonError(Exception):
    """A body that should be JSON and is not; the public package answers it with 403 and a text."""


@dataclass(frozen=True)
class Upload:
    """A file of a multipart request, not yet read."""

    name: str
    stream: Any
    rest: Iterator[Any]
    """The parts that follow."""

    def read(self, size: int) -> bytes:
        """So much of the file; an error instead of its end if the body breaks off."""
        chunk: bytes = self.stream.read(size)
        if not chunk:
            next(self.rest, None)  # which looks for the boundary
        return chunk


def read(request: Request, method: Method) -> dict[str, Any]:
    """The arguments for the method, or RefusalError in the public package's words."""
    if request.method in ("GET", "HEAD"):
        given: dict[str, Any] = query(request.query_string)
        return bind(method, given, cast_text=True)
    return bind(method, _body(request), cast_text=False)


def query(text: str) -> dict[str, list[str]]:
    """A query's fields as they were sent, each with all its values."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=10_000)
    except ValueError as error:
        raise RefusalError(f"Argument error: {error}") from error


def _body(request: Request) -> dict[str, Any]:
    content_type = (request.content_type or "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return _multipart(request)
    body = _bytes(request)
    if not body.strip():
        return {}
    if content_type == "application/json":
        return _json(body)
    if content_type in (_FORM, ""):
        fields = _form(body)
        return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    raise falcon.HTTPUnsupportedMediaType(description="Content-Type must be application/json, a form or multipart")


def form(request: Request) -> dict[str, list[str]]:
    """A form's fields as they were sent, each with all its values."""
    return _form(_bytes(request))


def _form(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=10_000)
    except ValueError as error:
        raise RefusalError(f"Argument error: not a form: {error}") from error


def _bytes(request: Request) -> bytes:
    length = request.content_length
    if length is not None and length > MAX_BODY:
        raise falcon.HTTPContentTooLarge(description=f"the body is larger than {MAX_BODY} bytes")
    # gunicorn ends the stream itself where a body comes in chunks, without a length.
    stream = request.stream if request.env.get("wsgi.input_terminated") else request.bounded_stream
    body: bytes = stream.read(MAX_BODY + 1) if length is None else stream.read(length)
    if len(body) > MAX_BODY:
        raise falcon.HTTPContentTooLarge(description=f"the body is larger than {MAX_BODY} bytes")
    if len(body) < (length or 0):
        raise falcon.HTTPBadRequest(description=BROKEN_OFF)
    encoding = (request.get_header("Content-Encoding") or "").strip().lower()
    # The stock client compresses and does not say so.
    if encoding == "gzip" or (not encoding and body.startswith(_GZIP_MAGIC)):
        return gunzip(body)
    if encoding not in ("", "identity"):
        raise falcon.HTTPUnsupportedMediaType(description="Content-Encoding must be gzip or absent")
    return body


def gunzip(data: bytes) -> bytes:
    """Expands, but never beyond MAX_BODY: a few kB may stand for gigabytes."""
    expander = zlib.decompressobj(wbits=31)
    try:
        expanded = expander.decompress(data, MAX_BODY + 1)
    except zlib.error as error:
        raise RefusalError(f"the body is not gzip: {error}") from error
    if len(expanded) > MAX_BODY:
        raise falcon.HTTPContentTooLarge(description=f"the expanded body is larger than {MAX_BODY} bytes")
    if not expander.eof:
        raise RefusalError("the body is not gzip: it ends too early")
    return expanded


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = untrusted.read_json(body)
    except ValueError as error:
        raise InvalidJsonError(str(error)) from error
    if not isinstance(content, dict):
        raise InvalidJsonError(f"must be an object, not {type(content).__name__}")
    return content


def _multipart(request: Request) -> dict[str, Any]:
    """The first part of a file ends the reading: whoever takes it reads it as it comes."""
    ended = bool(request.env.get("wsgi.input_terminated"))
    length = MAX_UPLOAD if request.content_length is None and ended else request.content_length or 0
    if length > MAX_UPLOAD + 1024 * 1024:
        raise falcon.HTTPContentTooLarge(description=f"the body is larger than {MAX_UPLOAD} bytes")
    handler = falcon.media.MultipartFormHandler(MultipartParseOptions())
    stream = cast(io.BufferedIOBase, request.stream if ended else request.bounded_stream)
    fields: dict[str, Any] = {}
    parts = iter(handler.deserialize(stream, request.content_type, length))
    for part in parts:
        if part.filename:
            fields[part.name or ""] = Upload(part.filename, part.stream, parts)
            break
        fields[part.name or ""] = part.get_text()
    return fields


def bind(method: Method, given: dict[str, Any], cast_text: bool) -> dict[str, Any]:
    """Holds given arguments to the signature of the method; those of a query are text and are read as its types."""
    parameters = method.signature.parameters
    for name in given:
        if name not in parameters:
            raise RefusalError(f"Argument error: got an unexpected keyword argument '{name[:100]}'")
    arguments: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name not in given:
            if parameter.default is parameter.empty:
                raise RefusalError(f"Argument error: missing a required argument: '{name}'")
            continue
        value = given[name]
        if cast_text:
            value = _from_text(name, value, parameter.annotation)
        elif value is None and parameter.default is None:
            continue
        _check(name, value, parameter.annotation)
        arguments[name] = value
    return arguments


def kinds(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows, None aside."""
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return tuple(option for option in options if option is not types.NoneType)


def type_name(annotation: Any) -> str:
    """An annotation's name for an error text."""
    return " | ".join(getattr(typing.get_origin(kind) or kind, "__name__", str(kind)) for kind in kinds(annotation))


def _from_text(name: str, values: list[str], annotation: Any) -> Any:
    """A query has text only; it is read as the method's type."""
    kind = kinds(annotation)[0]
    try:
        if typing.get_origin(kind) is list:
            item = typing.get_args(kind)[0]
            return [item(value) for value in values]
        if len(values) > 1:
            raise RefusalError(f"Argument error: '{name}' is given {len(values)} times")
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[values[0].lower()]
        return kind(values[0])
    except (ValueError, TypeError, KeyError) as error:
        message = f"Type error: '{name}' could not be casted to type {type_name(annotation)}."
        raise RefusalError(message) from error


def _check(name: str, value: Any, annotation: Any) -> None:
    allowed = kinds(annotation)
    if not any(_fits(value, kind) for kind in allowed):
        got = type(value).__name__
        raise RefusalError(f"Type error: '{name}' must be of type {type_name(annotation)}, got {got}.")
    for kind in allowed:
        if typing.get_origin(kind) is list and isinstance(value, list):
            item = typing.get_args(kind)[0]
            if not all(_fits(element, item) for element in value):
                raise RefusalError(f"Type error: All elements in '{name}' must be {type_name(item)}.")
    try:
        untrusted.check(value)
    except ValueError as error:
        raise RefusalError(f"Argument error: '{name}' {error}") from error


def _fits(value: Any, kind: Any) -> bool:
    kind = typing.get_origin(kind) or kind
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)
