"""Functions as the data plane sees them."""

from collections.abc import Collection

import msgspec

from functions.models import Alias, Function, FunctionVersion
from hotswap.records.table import Bodies
from hotswap.wire.table import FunctionRoute, VersionRoute

_encode = msgspec.json.Encoder(order="deterministic").encode


def names() -> Collection[str]:
    """Names of the functions that belong into the table."""
    return list(Function.objects.filter(deleted_at=None).values_list("name", flat=True))


def render(wanted: Collection[str]) -> dict[str, Bodies]:
    """Entries of the named functions; deleted ones are left out.

    Every change of a function, its versions or aliases locks the function's row first; so
    does this, and an entry never shows an alias of one moment with versions of another.
    """
    rows = (
        Function.objects.select_for_update(no_key=True)
        .filter(name__in=wanted, deleted_at=None)
        .order_by("id")
        .prefetch_related("versions", "aliases__targets__version")
    )
    return {function.name: _bodies(function) for function in rows}


def _bodies(function: Function) -> Bodies:
    versions = sorted(function.versions.all(), key=lambda version: version.number)
    aliases = {alias.name: _weights(alias) for alias in function.aliases.all()}
    return Bodies(
        gateway=_encode(_route(function, [_version(v, {}) for v in versions], aliases)),
        runner=_encode(_route(function, [_version(v, v.environment) for v in versions], aliases)),
    )


def _route(
    function: Function,
    versions: list[VersionRoute],
    aliases: dict[str, tuple[tuple[int, int], ...]],
) -> FunctionRoute:
    return FunctionRoute(
        id=function.id,
        name=function.name,
        latest=versions[-1].number if versions else 0,
        versions=tuple(versions),
        aliases=aliases,
        max_instances=function.max_instances,
        reserved_concurrency=function.reserved_concurrency,
        max_queue=function.max_queue,
        idle_timeout_ms=function.idle_timeout_seconds * 1_000,
    )


def _version(version: FunctionVersion, environment: dict[str, str]) -> VersionRoute:
    return VersionRoute(
        id=version.id,
        number=version.number,
        runtime=version.runtime,
        handler=version.handler,
        code_sha256=version.artifact_id,
        memory_mib=version.memory_mib,
        timeout_ms=version.timeout_seconds * 1_000,
        environment=environment,
    )


def _weights(alias: Alias) -> tuple[tuple[int, int], ...]:
    return tuple(
        sorted((target.version.number, target.weight_bps) for target in alias.targets.all())
    )
