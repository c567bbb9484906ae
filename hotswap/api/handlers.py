"""Django's own error pages: problems under the API's addresses, pages elsewhere."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from hotswap.api.problems import problem_response
from hotswap.core.errors import BadRequest, Forbidden, HotSwapError, NotFound

_API = ("/api/", "/internal/", "/health")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    if _is_api(request):
        return problem_response(BadRequest("The request is malformed."), request)
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    if _is_api(request):
        return problem_response(Forbidden("You may not do this."), request)
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    if _is_api(request):
        return problem_response(NotFound("There is nothing at this address."), request)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest, *_: Any) -> HttpResponse:
    """500."""
    if _is_api(request):
        text = "Something broke on our side; the request id finds it in the logs."
        return problem_response(HotSwapError(text), request)
    return defaults.server_error(request)


def _is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(_API)
