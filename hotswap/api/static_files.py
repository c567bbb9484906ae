"""WhiteNoise for both of Django's modes; its own middleware would put async views on threads."""

from collections.abc import Awaitable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware

from hotswap.api.request_id import Respond


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Answers static files; hands everything else on without leaving the event loop."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Respond) -> None:
        super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        response: HttpResponseBase | Awaitable[HttpResponseBase] = super().__call__(request)
        if self._is_async and isinstance(response, HttpResponseBase):
            return _ready(response)
        return response


async def _ready(response: HttpResponseBase) -> HttpResponseBase:
    return response
