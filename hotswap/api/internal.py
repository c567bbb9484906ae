"""The door for our own processes: gateways and runners show the installation's token."""

import hmac
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from hotswap import config
from hotswap.api.problems import problem_response
from hotswap.core.errors import HotSwapError, Unauthenticated

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def is_internal(request: HttpRequest) -> bool:
    """Whether the request carries the internal token; takes the same time for every token."""
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    wanted = config.current().core.internal_token
    return scheme == "Bearer" and hmac.compare_digest(shown.encode(), wanted.encode())


def internal_only(view: AsyncView) -> AsyncView:
    """Let an async view be called by our own processes only; its errors become problems."""

    @wraps(view)
    async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not is_internal(request):
            refusal = Unauthenticated("This address is for gateways and runners only.")
            return problem_response(refusal, request)
        try:
            return await view(request, *args, **kwargs)
        except HotSwapError as error:
            return problem_response(error, request)

    return csrf_exempt(guarded)


def empty() -> HttpResponse:
    """204: taken, nothing to say."""
    return HttpResponse(status=204)
