"""Access tokens: JWT signed with an Ed25519 key derived from the installation's secret.

Every web process derives the same key, so nothing is stored; a new secret key is a new
signing key, and the old one leaves the routing table with the next sweep.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hotswap import config
from hotswap.core.errors import Unauthenticated

ALGORITHM = "EdDSA"
ISSUER = "hotswap"
LIFETIME = timedelta(minutes=15)
_REQUIRED = ["exp", "iat", "iss", "jti", "sub"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a checked access token says."""

    user: str
    scopes: tuple[str, ...]


@lru_cache(maxsize=1)
def _key() -> Ed25519PrivateKey:
    seed = config.current().core.require_secret().derive("access-token-ed25519")
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_pem() -> str:
    """The public key as PEM."""
    info = PublicFormat.SubjectPublicKeyInfo
    return _key().public_key().public_bytes(Encoding.PEM, info).decode()


@lru_cache(maxsize=1)
def key_id() -> str:
    """Id of the key, from its public half: 16 hex digits."""
    return hashlib.sha256(public_pem().encode()).hexdigest()[:16]


def sign(*, user: str, scopes: tuple[str, ...], now: datetime) -> str:
    """An access token for `user` that is good for 15 minutes."""
    claims = {
        "iss": ISSUER,
        "sub": user,
        "scopes": list(scopes),
        "iat": now,
        "exp": now + LIFETIME,
        "jti": secrets.token_hex(12),
    }
    return jwt.encode(claims, _key(), algorithm=ALGORITHM, headers={"kid": key_id()})


def check(token: str) -> Claims:
    """The claims of a token that we signed and that has not expired.

    Raises:
        Unauthenticated: anything else.
    """
    try:
        claims = jwt.decode(
            token,
            _key().public_key(),
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            options={"require": _REQUIRED},
        )
        return Claims(str(claims["sub"]), tuple(str(scope) for scope in claims["scopes"]))
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        raise Unauthenticated("The access token is not valid; get a new one.") from None
