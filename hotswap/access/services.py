"""Issue and revoke tokens, note their use."""

import hashlib
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import IntegrityError, transaction
from redis.exceptions import RedisError

from hotswap.access import scopes, signing
from hotswap.access.models import PersonalAccessToken
from hotswap.api.problems import RateLimited
from hotswap.core.errors import AlreadyExists, InvalidInput, NotFound, Unauthenticated
from hotswap.records import services as records
from hotswap.records.models import RoutingEntry

log = logging.getLogger("hotswap.access")

TOKEN_PREFIX = "hs_"
TOKEN_NAME_MAX = 64
LOGIN_TRIES = 10
LOGIN_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new personal access token; `plain` exists only here."""

    row: PersonalAccessToken
    plain: str

    def __repr__(self) -> str:
        return f"Issued({self.row})"


def access_token_issue(
    *, username: str, password: str, address: str, wanted: Iterable[str] | None, now: datetime
) -> str:
    """An access token for a user's name and password.

    Args:
        address: the caller's network address; tries are counted by it and the name.
        wanted: scopes to narrow the token to; None is all.

    Raises:
        Unauthenticated: wrong name or password, or the user is disabled; it does not say which.
        RateLimited: more than 10 tries a minute.
        InvalidInput: an unknown scope.
    """
    granted = checked_scopes(scopes.ALL if wanted is None else wanted)
    sign_in_count(f"{address} {username.lower()}")
    user = authenticate(username=username, password=password)
    if user is None:
        raise Unauthenticated("The user name or the password is wrong.")
    signing_key_announce(now=now)
    return signing.sign(user=user.get_username(), scopes=granted, now=now)


def signing_key_announce(*, now: datetime) -> None:
    """Have the public key in the routing table before the first token that needs it."""
    key = f"key/{signing.key_id()}"
    if not RoutingEntry.objects.filter(key=key, is_deleted=False).exists():
        with transaction.atomic():
            records.routing_mark_dirty(keys=[key], at=now)


@transaction.atomic
def personal_token_create(
    *,
    user: User,
    name: str,
    wanted: Iterable[str],
    expires_at: datetime | None,
    now: datetime,
) -> Issued:
    """Make a personal access token. Its plain text is returned once and stored nowhere.

    Raises:
        InvalidInput: no name, no or an unknown scope, or an expiry in the past.
        AlreadyExists: the user has a token of this name.
    """
    granted = checked_scopes(wanted)
    if not 0 < len(name) <= TOKEN_NAME_MAX or not name.isprintable():
        raise InvalidInput(f"name: A token's name has 1 to {TOKEN_NAME_MAX} printable characters.")
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("expiresAt: The expiry lies in the past.")
    plain = TOKEN_PREFIX + secrets.token_urlsafe(32)
    sha256 = hashlib.sha256(plain.encode()).hexdigest()
    try:
        with transaction.atomic():
            row = PersonalAccessToken.objects.create(
                user=user,
                name=name,
                hint=plain[:8],
                sha256=sha256,
                scopes=list(granted),
                created_at=now,
                expires_at=expires_at,
            )
    except IntegrityError:
        raise AlreadyExists(f"You have a token named {name} already.") from None
    _record(row, verb="token.create", now=now)
    return Issued(row, plain)


@transaction.atomic
def personal_token_revoke(*, user: User, token_id: int, now: datetime) -> None:
    """Revoke one of the user's tokens; gateways refuse it when this returned and committed.

    Raises:
        NotFound: the user has no such token.
    """
    row = PersonalAccessToken.objects.filter(user=user, id=token_id).first()
    if row is None:
        raise NotFound("You have no such token.")
    _record(row, verb="token.revoke", now=now)
    row.delete()


def tokens_used(*, used: Mapping[str, int]) -> None:
    """Note when tokens were last used, as gateways report it.

    Args:
        used: SHA-256 of a token -> epoch seconds.
    """
    moments = {sha256: datetime.fromtimestamp(at, tz=UTC) for sha256, at in used.items()}
    rows = list(PersonalAccessToken.objects.filter(sha256__in=moments))
    for row in rows:
        row.last_used_at = max(row.last_used_at or moments[row.sha256], moments[row.sha256])
    PersonalAccessToken.objects.bulk_update(rows, ["last_used_at"])


def checked_scopes(wanted: Iterable[str]) -> tuple[str, ...]:
    """The scopes in their usual order; raises InvalidInput for none and for unknown ones."""
    asked = set(wanted)
    if unknown := sorted(asked - set(scopes.ALL)):
        known = ", ".join(scopes.ALL)
        raise InvalidInput(f"scopes: {unknown[0]!r} is not one of: {known}.")
    if not asked:
        raise InvalidInput("scopes: A token needs at least one scope.")
    return tuple(scope for scope in scopes.ALL if scope in asked)


def sign_in_count(who: str) -> None:
    """Count one try to sign in; raises RateLimited when there were too many."""
    key = f"login:{hashlib.sha256(who.encode()).hexdigest()}"
    window = int(LOGIN_WINDOW.total_seconds())
    try:
        cache.add(key, 0, timeout=window)
        tries = cache.incr(key)
    except ValueError:  # expired between the two
        return
    except RedisError:
        log.warning("the cache is down: tries to sign in are not counted")
        return
    if tries > LOGIN_TRIES:
        raise RateLimited(f"Too many tries to sign in; wait {window} seconds.", retryAfter=window)


def _record(row: PersonalAccessToken, *, verb: str, now: datetime) -> None:
    records.routing_mark_dirty(keys=[f"token/{row.sha256}"], at=now)
    records.audit_append(
        verb=verb,
        subject=f"token/{row.hint}",
        actor=row.user.get_username(),
        at=now,
        detail={"name": row.name, "scopes": row.scopes},
    )
