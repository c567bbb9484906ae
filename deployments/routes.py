"""Rollouts as the data plane sees them."""

import hashlib
from collections.abc import Collection

import msgspec
from django.db.models import QuerySet

from deployments.machine import Route, is_leased
from deployments.models import Attempt
from deployments.states import TERMINAL, Phase
from deployments.strategies.base import plan_load
from hotswap.records.table import Bodies
from hotswap.wire.rollouts import SplitRoute, WarmRoute

_encode = msgspec.json.Encoder(order="deterministic").encode
_WITHOUT = [*sorted(TERMINAL), Phase.QUEUED, Phase.AWAITING_APPROVAL]


def names() -> Collection[str]:
    """`<function>/<alias>` of every rollout under way."""
    return [_name(attempt) for attempt in _live()]


def render(wanted: Collection[str]) -> dict[str, Bodies]:
    """Entries of these aliases; those without a rollout, or of deleted functions, left out."""
    functions = {name.partition("/")[0] for name in wanted}
    found = {_name(a): _bodies(a) for a in _live().filter(function__name__in=functions)}
    return {name: bodies for name, bodies in found.items() if name in wanted}


def _live() -> QuerySet[Attempt]:
    return (
        Attempt.objects.filter(function__deleted_at=None)
        .exclude(phase__in=_WITHOUT)
        .select_related("deployment", "function")
    )


def _name(attempt: Attempt) -> str:
    return f"{attempt.function.name}/{attempt.alias}"


def _bodies(attempt: Attempt) -> Bodies:
    warm = WarmRoute(function=attempt.function.name, versions=attempt.warm)
    return Bodies(gateway=_split(attempt), runner=_encode(warm))


def _split(attempt: Attempt) -> bytes:
    deployment = attempt.deployment
    if deployment.from_number is None and attempt.phase == Phase.PREPARING:
        return b""  # nothing to divide: the alias leads nowhere until the version is warm
    plan = plan_load(deployment.plan)
    stable = deployment.from_number or deployment.to_number
    route = SplitRoute(
        attempt=attempt.id.hex,
        epoch=attempt.epoch,
        stable=stable,
        candidate=deployment.to_number,
        weight=attempt.weight,
        runner_weights=attempt.runner_weights,
        is_leased=is_leased(Route(attempt.weight, attempt.runner_weights)),
        salt=attempt.salt,
        unit=plan.unit,
        preview_sha256=hashlib.sha256(attempt.preview_key.encode()).hexdigest(),
        mirror=plan.mirror,
        slow_ms=attempt.slow_ms,
    )
    return _encode(route)
