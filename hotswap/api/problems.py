"""Every error as an RFC 9457 problem document, whoever raised it."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.response import Response

from hotswap.api.request_id import request_id
from hotswap.core.errors import (
    BadRequest,
    Forbidden,
    HotSwapError,
    InvalidInput,
    NotFound,
    Unauthenticated,
)

log = logging.getLogger("hotswap.api")

CONTENT_TYPE = "application/problem+json"


class MethodNotAllowed(HotSwapError):
    slug, title, status, fault = "method-not-allowed", "Method not allowed", 405, "caller"


class NotAcceptable(HotSwapError):
    slug, title, status, fault = "not-acceptable", "Not acceptable", 406, "caller"


class UnsupportedMediaType(HotSwapError):
    slug, title, status, fault = "unsupported-media-type", "Unsupported media type", 415, "caller"


class RateLimited(HotSwapError):
    """The caller asks too often; says nothing about the function."""

    slug, title, status, fault = "rate-limited", "Too many requests", 429, "caller"
    retryable = True


_BY_STATUS: dict[int, type[HotSwapError]] = {
    error.status: error
    for error in (
        BadRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        UnsupportedMediaType,
        RateLimited,
    )
}


def _flatten(detail: Any, path: str = "") -> list[dict[str, str]]:
    """DRF's nested messages as `[{"field": "a.b", "message": ...}]`."""
    if isinstance(detail, Mapping):
        return [
            item
            for name, inner in detail.items()
            for item in _flatten(
                inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip(".")
            )
        ]
    if isinstance(detail, list):
        return [item for inner in detail for item in _flatten(inner, path)]
    return [{"field": path, "message": str(detail)}]


def _invalid(exc: drf.ValidationError) -> HotSwapError:
    errors = _flatten(exc.detail)
    first = errors[0]
    where = f"{first['field']}: " if first["field"] else ""
    return InvalidInput(f"{where}{first['message']}", errors=errors)


def as_hotswap_error(exc: Exception) -> HotSwapError | None:
    """The error of our tree that says the same; None for a bug."""
    if isinstance(exc, HotSwapError):
        return exc
    if isinstance(exc, Http404):
        return NotFound("There is nothing at this address.")
    if isinstance(exc, PermissionDenied):
        return Forbidden(str(exc) or "You may not do this.")
    if isinstance(exc, drf.ValidationError):
        return _invalid(exc)
    if isinstance(exc, drf.NotAuthenticated):
        return Unauthenticated("Send a token as `Authorization: Bearer ...`, or sign in.")
    if isinstance(exc, drf.APIException):
        return _BY_STATUS.get(exc.status_code, HotSwapError)(str(exc.detail))
    return None


def document(error: HotSwapError, request: HttpRequest | Request) -> dict[str, object]:
    """The problem document; `instance` is the request's id, as in `X-Request-Id`."""
    http = request._request if isinstance(request, Request) else request
    return {**error.problem(), "instance": request_id(http)}


def problem_response(error: HotSwapError, request: HttpRequest) -> HttpResponse:
    """A plain Django response, for views outside DRF."""
    body = json.dumps(document(error, request))
    return HttpResponse(body, status=error.status, content_type=CONTENT_TYPE)


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """DRF's last word on an exception. A bug is logged and shown as `internal`."""
    error = as_hotswap_error(exc)
    if error is None:
        log.error("unhandled error in the API", exc_info=exc)
        error = HotSwapError("Something broke on our side; the request id finds it in the logs.")
    response = Response(document(error, context["request"]), status=error.status)
    response.content_type = CONTENT_TYPE
    for name in ("WWW-Authenticate", "Retry-After"):
        value = _header(exc, name)
        if value:
            response[name] = value
    return response


def _header(exc: Exception, name: str) -> str:
    if name == "WWW-Authenticate":
        return str(getattr(exc, "auth_header", "") or "")
    wait = getattr(exc, "wait", None) or getattr(exc, "extras", {}).get("retryAfter")
    return str(int(wait)) if wait else ""
