"""Who calls: access tokens and personal access tokens, checked without asking anybody.

Keys and token hashes arrive with the routing table. A header that was checked once is
remembered until it expires or any key or token changes, so that the signature is paid once
per token (100 us) and not once per call (0.1 us).
"""

import hashlib
from typing import TypeVar

import jwt
import msgspec

from hotswap.core import clock
from hotswap.core.errors import Forbidden, Unauthenticated
from hotswap.wire.table import KeyRoute, TokenRoute
from runners.link.feed import Changed

INVOKE_SCOPE = "functions:invoke"
TOKEN_PREFIX = "hs_"
ISSUER = "hotswap"
LEEWAY_SECONDS = 30
REMEMBERED_MAX = 100_000

T = TypeVar("T")

_decode_key = msgspec.json.Decoder(KeyRoute).decode
_decode_token = msgspec.json.Decoder(TokenRoute).decode


class Grant:
    """What one Authorization header allows. `expires_at`: epoch seconds."""

    __slots__ = ("expires_at", "may_invoke", "token_sha256", "user")

    def __init__(
        self, user: str, may_invoke: bool, expires_at: float, token_sha256: str = ""
    ) -> None:
        self.user = user
        self.may_invoke = may_invoke
        self.expires_at = expires_at
        self.token_sha256 = token_sha256


class Authenticator:
    """Turns Authorization headers into grants."""

    def __init__(self) -> None:
        self._keys: dict[str, KeyRoute] = {}
        self._tokens: dict[str, TokenRoute] = {}
        self._grants: dict[bytes, Grant] = {}

    def apply(self, changed: Changed) -> None:
        """Take the changed `key/` and `token/` entries."""
        for key, body in changed.items():
            kind, _, name = key.partition("/")
            if kind == "key":
                _set(self._keys, name, _decode_key(body) if body is not None else None)
            elif kind == "token":
                _set(self._tokens, name, _decode_token(body) if body is not None else None)
            else:
                continue
            self._grants = {}

    def grant(self, header: bytes | None) -> Grant:
        """The grant of a header that may invoke functions.

        Raises:
            Unauthenticated: no token, an unknown, wrong or expired one.
            Forbidden: the token is good but not for invoking.
        """
        grant = self._grants.get(header) if header is not None else None
        if grant is None:
            grant = self._check(header)
        if grant.expires_at < clock.epoch_ms() / 1000:
            raise Unauthenticated("the token has expired; get a new one")
        if not grant.may_invoke:
            raise Forbidden(f"the token lacks the scope {INVOKE_SCOPE}")
        return grant

    def _check(self, header: bytes | None) -> Grant:
        if header is None:
            raise Unauthenticated("send an access token as `Authorization: Bearer ...`")
        scheme, _, token = header.decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("send an access token as `Authorization: Bearer ...`")
        grant = self._personal(token) if token.startswith(TOKEN_PREFIX) else self._access(token)
        if len(self._grants) >= REMEMBERED_MAX:
            self._grants = {}
        self._grants[header] = grant
        return grant

    def _personal(self, token: str) -> Grant:
        # Looked up by hash: comparing hashes of high-entropy tokens leaks nothing useful.
        sha256 = hashlib.sha256(token.encode()).hexdigest()
        route = self._tokens.get(sha256)
        if route is None:
            raise Unauthenticated("the token is not known here; it may have been revoked")
        expires_at = float(route.expires_at) or float("inf")
        return Grant(route.user, INVOKE_SCOPE in route.scopes, expires_at, sha256)

    def _access(self, token: str) -> Grant:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys[str(kid)]
            claims = jwt.decode(
                token,
                key.public_pem,
                algorithms=[key.algorithm],
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "iss"]},
            )
        except (jwt.PyJWTError, KeyError, ValueError):
            raise Unauthenticated("the access token is not valid; get a new one") from None
        scopes = claims.get("scopes", [])
        may_invoke = isinstance(scopes, list) and INVOKE_SCOPE in scopes
        return Grant(str(claims["sub"]), may_invoke, float(claims["exp"]) + LEEWAY_SECONDS)


def _set(store: dict[str, T], name: str, item: T | None) -> None:
    if item is None:
        store.pop(name, None)
    else:
        store[name] = item
