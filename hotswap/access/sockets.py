"""Who opened a websocket: a bearer token, or the portal's session from the portal's own page."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings
from django.http.request import validate_host
from rest_framework.exceptions import AuthenticationFailed

from hotswap.access.authentication import TOKEN_MAX, token_grant
from hotswap.api.permissions import SESSION_SCOPE
from hotswap.core.errors import Forbidden, Unauthenticated

Scope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may use a websocket."""

    username: str
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the visitor has `scope`."""
        if not self.scopes & {scope, SESSION_SCOPE}:
            raise Forbidden(f"Your token lacks the scope {scope}.", scope=scope)


def bearer_token(scope: Scope) -> str | None:
    """The token of the handshake's `Authorization` header, if there is one."""
    scheme, _, token = _header(scope, b"authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def is_browser(scope: Scope) -> bool:
    """Whether a page opened the websocket; programs name no origin."""
    return bool(_header(scope, b"origin"))


async def visitor(scope: Scope, token: str | None) -> Visitor:
    """Who holds this token, or else this session; looks again each time it is asked.

    Raises:
        Unauthenticated: a bad token, nobody signed in, or a page that is not ours.
    """
    if token is not None:
        found: Visitor = await database_sync_to_async(_token_visitor)(token)
        return found
    if not is_own_page(scope):
        raise Unauthenticated("Open this websocket from the portal's own pages, or send a token.")
    key = scope["session"].session_key
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = await get_user({"session": session})
    if key is None or not user.is_authenticated or not user.is_active:
        raise Unauthenticated("Sign in, or send a token.")
    return Visitor(user.get_username(), frozenset({SESSION_SCOPE}))


def is_own_page(scope: Scope) -> bool:
    """Whether the page that opened the websocket came from this very address.

    Browsers send cookies to a host whatever the port, and send them for websockets of
    foreign pages as well. A page of another port, such as one that a function made, must
    not read logs with the visitor's session.
    """
    origin, host = _header(scope, b"origin"), _header(scope, b"host")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    known = validate_host(urlsplit(f"//{host}").hostname or "", settings.ALLOWED_HOSTS)
    return bool(host) and known and urlsplit(origin).netloc == host


def _token_visitor(token: str) -> Visitor:
    try:
        if not 0 < len(token) <= TOKEN_MAX:
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        user, grant = token_grant(token)
    except AuthenticationFailed as exc:
        raise Unauthenticated(str(exc.detail)) from None
    return Visitor(user.get_username(), grant.scopes)


def _header(scope: Scope, name: bytes) -> str:
    found: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    return found.decode("latin-1")
