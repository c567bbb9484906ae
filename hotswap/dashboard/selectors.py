"""What the pages show, joined from the apps' selectors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.models import QuerySet
from redis.exceptions import RedisError

from functions import selectors as functions
from functions import storage
from hotswap.access.models import PersonalAccessToken
from hotswap.dashboard.models import TestEvent
from hotswap.records.models import TableReader
from runners.selectors import nodes
from runners.selectors.usage import Usage, usage_by_function
from runners.types import NodeState
from runtimes import catalog
from runtimes.catalog import Runtime

READER_FRESH = timedelta(seconds=60)
USAGE_SPAN = timedelta(hours=24)
_NO_PACKAGE = "0" * 64


@dataclass(frozen=True, slots=True)
class Health:
    """One part of the installation. `tone` is ok, warn or bad."""

    name: str
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """A function in the list."""

    function: Any
    newest: Any
    aliases: Sequence[Any]
    usage: Usage


def function_rows(found: Sequence[Any], *, now: datetime) -> list[FunctionRow]:
    """Functions with their newest versions, aliases and the last day's calls: three queries."""
    ids = [function.id for function in found]
    newest = functions.versions_newest(function_ids=ids)
    aliases = functions.aliases_by_function(function_ids=ids)
    usage = usage_by_function(function_ids=ids, since=now - USAGE_SPAN)
    return [
        FunctionRow(f, newest.get(f.id), aliases.get(f.id, []), usage.get(f.id, Usage()))
        for f in found
    ]


def test_events(*, function_id: int) -> QuerySet[TestEvent]:
    """A function's saved events by name."""
    return TestEvent.objects.filter(function_id=function_id).order_by("name")


def tokens(*, user: Any) -> QuerySet[PersonalAccessToken]:
    """A user's access tokens, newest first."""
    return PersonalAccessToken.objects.filter(user=user).order_by("-created_at")


def runtime_choices(*, now: datetime) -> list[Runtime]:
    """Runtimes that some live runner can run; all of them while none has reported."""
    able: set[str] = set()
    for node in nodes.node_list(now=now):
        if node.state is not NodeState.OFFLINE:
            able.update(node.runtimes)
    known = catalog.all_runtimes().values()
    return [runtime for runtime in known if not able or runtime.name in able]


def runtime_for(language: str, choices: Iterable[Runtime]) -> Runtime | None:
    """The newest runtime of a language among the choices."""
    own = [runtime for runtime in choices if runtime.language == language]
    return own[-1] if own else None


def health(*, now: datetime) -> list[Health]:
    """The installation's parts, each judged from what it last said."""
    return [_gateways(now), _runners(now), _database(), _cache(), _packages()]


def _gateways(now: datetime) -> Health:
    seen = TableReader.objects.filter(role="gateway", seen_at__gt=now - READER_FRESH).count()
    if not seen:
        return Health("Gateways", "bad", "none has reported in the last minute")
    return Health("Gateways", "ok", f"{seen} serving")


def _runners(now: datetime) -> Health:
    found = nodes.node_list(now=now)
    alive = [node for node in found if node.state is not NodeState.OFFLINE]
    if not alive:
        silent = min((node.seen_seconds_ago for node in found), default=None)
        text = "none has reported yet" if silent is None else f"not seen for {silent:.0f} s"
        return Health("Runners", "bad", text)
    if len(alive) < len(found):
        return Health("Runners", "warn", f"{len(alive)} of {len(found)} reporting")
    worried = sum(node.state is NodeState.DEGRADED for node in alive)
    if worried:
        return Health("Runners", "warn", f"{len(alive)} reporting, {worried} degraded")
    return Health("Runners", "ok", f"{len(alive)} reporting")


def _database() -> Health:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return Health("PostgreSQL", "bad", "does not answer")
    return Health("PostgreSQL", "ok", "answering")


def _cache() -> Health:
    try:
        cache.get("health")
    except RedisError:
        return Health("Valkey", "warn", "does not answer; live logs are slower")
    return Health("Valkey", "ok", "answering")


def _packages() -> Health:
    try:
        storage.size(_NO_PACKAGE)
    except Exception as exc:  # noqa: BLE001  (each store has errors of its own)
        return Health("Packages", "bad", f"the store does not answer ({type(exc).__name__})")
    return Health("Packages", "ok", "readable")
