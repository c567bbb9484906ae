"""The short way for our own processes, past what only browsers and users need."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import resolve

Respond = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]

PREFIX = "/internal/"


class InternalShortCut:
    """Calls the views of `/internal/` at once; the middleware below never sees them.

    Gateways and runners report several times a second. Sessions, forms and pages' headers are
    nothing to them, and under ASGI each synchronous middleware costs two changes of thread.
    Those views check the installation's token themselves.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Respond) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async and request.path_info.startswith(PREFIX):
            return self._at_once(request)
        return self._get_response(request)

    async def _at_once(self, request: HttpRequest) -> HttpResponseBase:
        found = resolve(request.path_info)
        response: HttpResponseBase = await found.func(request, *found.args, **found.kwargs)
        return response
