"""The signed-in user: access tokens."""

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_http_methods, require_POST

from hotswap.access import scopes
from hotswap.access import services as access
from hotswap.core import clock
from hotswap.core.errors import HotSwapError
from hotswap.dashboard import selectors
from hotswap.dashboard.guard import draw, page
from hotswap.records import table

LIFETIMES = {"30": "30 days", "90": "90 days", "365": "1 year", "": "no expiry"}


@page
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponseBase:
    """Tokens of the user. A new token's text is drawn once, in the answer that made it."""
    issued = None
    if request.method == "POST":
        try:
            issued = _issue(request)
        except HotSwapError as error:
            messages.error(request, error.detail)
    context = {
        "section": "account",
        "tokens": selectors.tokens(user=request.user),
        "issued": issued,
        "scopes": scopes.ALL,
        "lifetimes": LIFETIMES,
        "now": clock.utc_now(),
    }
    return draw(request, "portal/account.html", context)


def _issue(request: HttpRequest) -> access.Issued:
    given, now = request.POST, clock.utc_now()
    days = given.get("days", "90")
    issued = access.personal_token_create(
        user=request.user,  # type: ignore[arg-type]  # the guard lets only users in
        name=given.get("name", "").strip(),
        wanted=given.getlist("scopes"),
        expires_at=now + timedelta(days=int(days)) if days in LIFETIMES and days else None,
        now=now,
    )
    table.wait_acked()
    return issued


@page
@require_POST
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponseBase:
    """Revoke a token at once."""
    access.personal_token_revoke(
        user=request.user,  # type: ignore[arg-type]  # the guard lets only users in
        token_id=token_id,
        now=clock.utc_now(),
    )
    table.wait_acked()
    messages.success(request, "The token is revoked; calls with it are refused from now on.")
    return HttpResponseRedirect("/account")
