"""Tokens and signing keys as gateways see them; runners get none of these."""

from collections.abc import Collection

import msgspec
from django.db.models import Q, QuerySet

from hotswap.access import signing
from hotswap.access.models import PersonalAccessToken
from hotswap.core import clock
from hotswap.records.table import Bodies
from hotswap.wire.table import KeyRoute, TokenRoute

_encode = msgspec.json.Encoder(order="deterministic").encode


def token_names() -> Collection[str]:
    """SHA-256 of every token that works."""
    return list(_usable().values_list("sha256", flat=True))


def render_tokens(wanted: Collection[str]) -> dict[str, Bodies]:
    """Entries of these tokens; those that are gone, expired or of a disabled user left out."""
    rows = _usable().filter(sha256__in=wanted).select_related("user")
    return {row.sha256: Bodies(gateway=_encode(_token(row))) for row in rows}


def key_names() -> Collection[str]:
    """Ids of the keys that sign access tokens."""
    return [signing.key_id()]


def render_keys(wanted: Collection[str]) -> dict[str, Bodies]:
    """Entries of these keys; a key that no longer signs is left out."""
    kid = signing.key_id()
    route = KeyRoute(kid=kid, algorithm=signing.ALGORITHM, public_pem=signing.public_pem())
    return {kid: Bodies(gateway=_encode(route))} if kid in wanted else {}


def _usable() -> QuerySet[PersonalAccessToken]:
    unexpired = Q(expires_at=None) | Q(expires_at__gt=clock.utc_now())
    return PersonalAccessToken.objects.filter(unexpired, user__is_active=True)


def _token(row: PersonalAccessToken) -> TokenRoute:
    expires_at = int(row.expires_at.timestamp()) if row.expires_at else 0
    return TokenRoute(user=row.user.get_username(), scopes=tuple(row.scopes), expires_at=expires_at)
