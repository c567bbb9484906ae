"""What every page shares: a signed-in user, and errors that people can read."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from hotswap.api.problems import problem_response
from hotswap.core.errors import HotSwapError, InvalidInput, Unauthenticated

View = Callable[..., HttpResponseBase]
AsyncView = Callable[..., Awaitable[HttpResponseBase]]


def page(view: View) -> View:
    """A page for signed-in users. A refused form goes back to where it came from."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except HotSwapError as error:
            if request.method == "GET":
                return problem_page(request, error)
            messages.error(request, error.detail)
            return HttpResponseRedirect(_origin(request))

    return cast(View, login_required(guarded))


def endpoint(view: AsyncView) -> Any:
    """An address for the portal's own scripts: errors are problem documents, never pages."""

    @wraps(view)
    async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            user = await request.auser()
            if not user.is_authenticated:
                raise Unauthenticated("You are signed out; sign in again in this tab.")
            return await view(request, *args, **kwargs)
        except HotSwapError as error:
            return problem_response(error, request)

    return guarded


def quick_endpoint(view: View) -> Any:
    """As `endpoint`, for views that only read or write the database."""
    return endpoint(sync_to_async(view))


def actor(request: HttpRequest) -> str:
    """The user's name, for records."""
    return str(request.user.get_username())


def uploaded(request: HttpRequest, name: str) -> "UploadedFile[bytes]":
    """A file of the form; raises InvalidInput when none was chosen."""
    file = request.FILES.get(name)
    if not isinstance(file, UploadedFile):
        raise InvalidInput("Choose a zip file first.")
    return file


def is_partial(request: HttpRequest) -> bool:
    """Whether only the part of the page that stays current is asked for."""
    return request.headers.get("X-Partial") == "1"


def draw(
    request: HttpRequest, template: str, context: dict[str, Any], *, partial: str = ""
) -> HttpResponse:
    """Render a page, or its live part when that is asked for."""
    response = render(request, partial if partial and is_partial(request) else template, context)
    patch_vary_headers(response, ["X-Partial"])
    response["Cache-Control"] = "no-store"
    return response


def problem_page(request: HttpRequest, error: HotSwapError) -> HttpResponse:
    """The error as a page, with its status."""
    return render(request, "portal/problem.html", {"error": error}, status=error.status)


def _origin(request: HttpRequest) -> str:
    """The page a form was sent from, on this host; else the form's own address."""
    parts = urlsplit(request.headers.get("Referer", ""))
    if parts.netloc != request.get_host():
        return request.path
    return parts.path + (f"?{parts.query}" if parts.query else "")
