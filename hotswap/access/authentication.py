"""Who calls: an access token, a personal access token, or a signed-in browser."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from hotswap.access import signing
from hotswap.access.models import PersonalAccessToken
from hotswap.access.services import TOKEN_PREFIX, tokens_used
from hotswap.core import clock
from hotswap.core.errors import Unauthenticated

TOKEN_MAX = 4_096
USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows; `request.auth` in views. Sessions have none and may do everything."""

    scopes: frozenset[str]


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`. A wrong token is refused, never ignored."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, Grant] | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not 0 < len(token) <= TOKEN_MAX:
            raise AuthenticationFailed("Send your token as `Authorization: Bearer ...`.")
        return token_grant(token)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class BrowserSessionAuthentication(SessionAuthentication):
    """The portal's session; DRF checks the CSRF token of unsafe methods."""

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def token_grant(token: str) -> tuple[AbstractBaseUser, Grant]:
    """The user of a token and what it allows; raises AuthenticationFailed."""
    return _personal(token) if token.startswith(TOKEN_PREFIX) else _access(token)


def _personal(token: str) -> tuple[AbstractBaseUser, Grant]:
    # Looked up by hash: comparing hashes of random tokens tells an attacker nothing.
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    row = PersonalAccessToken.objects.select_related("user").filter(sha256=sha256).first()
    now = clock.utc_now()
    if row is None or not row.user.is_active or (row.expires_at and row.expires_at <= now):
        raise AuthenticationFailed("The token is unknown, expired or revoked.")
    if row.last_used_at is None or now - row.last_used_at > USE_NOTED_EVERY:
        tokens_used(used={sha256: int(now.timestamp())})
    return row.user, Grant(frozenset(row.scopes))


def _access(token: str) -> tuple[AbstractBaseUser, Grant]:
    try:
        claims = signing.check(token)
    except Unauthenticated as exc:
        raise AuthenticationFailed(exc.detail) from None
    user = get_user_model().objects.filter(username=claims.user, is_active=True).first()
    if user is None:
        raise AuthenticationFailed("The user of this token is gone or disabled.")
    return user, Grant(frozenset(claims.scopes))
