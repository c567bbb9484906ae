"""Every request gets an id; the answer and the error document carry it."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hotswap.core import ids

HEADER = "X-Request-Id"

Respond = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


def request_id(request: HttpRequest) -> str:
    """The id of this request; made here on the first question."""
    found: str | None = getattr(request, "hotswap_request_id", None)
    if found is None:
        found = ids.request_id()
        request.hotswap_request_id = found  # type: ignore[attr-defined]  # ours alone
    return found


class RequestIdMiddleware:
    """Adds `X-Request-Id` to every answer. Works in both of Django's modes."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Respond) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        response = self._get_response(request)
        if isinstance(response, HttpResponseBase):
            response[HEADER] = request_id(request)
            return response
        return self._later(request, response)

    async def _later(
        self, request: HttpRequest, pending: Awaitable[HttpResponseBase]
    ) -> HttpResponseBase:
        response = await pending
        response[HEADER] = request_id(request)
        return response
