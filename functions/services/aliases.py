"""Point names at weighted versions."""

from collections.abc import Collection, Mapping
from datetime import datetime

from django.db import IntegrityError, transaction

from functions import checks, selectors
from functions.models import Alias, AliasHold, AliasTarget, Function, FunctionVersion
from hotswap.core import limits
from hotswap.core.errors import AlreadyExists, Conflict, InvalidInput
from hotswap.db.rows import check_unchanged
from hotswap.records import services as records

TARGETS_MAX = 20

Weights = Mapping[int, int]
"""Version number -> share in basis points; they sum to 10,000."""


@transaction.atomic
def alias_create(
    *,
    function_name: str,
    name: str,
    weights: Weights,
    actor: str,
    now: datetime,
    description: str = "",
) -> Alias:
    """Make an alias.

    Raises:
        NotFound: no such function.
        AlreadyExists: the function has an alias of this name.
        Conflict: a deployment is about to make it.
        InvalidInput: a bad name, weights that do not sum to 10,000, or an unknown version.
    """
    function = selectors.function_lock(name=function_name)
    checks.check_alias_name(name)
    _check_description(description)
    _check_free(function, name)
    try:
        with transaction.atomic():
            alias = Alias.objects.create(
                function=function,
                name=name,
                description=description,
                created_at=now,
                updated_at=now,
            )
    except IntegrityError:
        raise AlreadyExists(f"Function {function_name} has an alias {name} already.") from None
    _point(alias, function, weights)
    _record(function, alias, verb="alias.create", actor=actor, now=now, weights=weights)
    return selectors.alias_get(function=function, name=name)


@transaction.atomic
def alias_update(
    *,
    function_name: str,
    name: str,
    actor: str,
    now: datetime,
    weights: Weights | None = None,
    description: str | None = None,
    expected: Collection[str] | None = None,
) -> Alias:
    """Move an alias, all its weights at once. The same weights again are fine.

    Raises:
        NotFound: no such function or alias.
        Conflict: a deployment is moving it.
        InvalidInput: as `alias_create`.
        StaleRow: the alias is in none of the expected states.
    """
    function = selectors.function_lock(name=function_name)
    alias = selectors.alias_get(function=function, name=name)
    check_unchanged(alias, expected)
    if weights is not None:
        _check_free(function, name)
    if description is not None:
        _check_description(description)
        alias.description = description
    if weights is not None:
        alias.targets.all().delete()
        _point(alias, function, weights)
    alias.row_version += 1
    alias.updated_at = now
    alias.save(update_fields=["description", "row_version", "updated_at"])
    _record(function, alias, verb="alias.update", actor=actor, now=now, weights=weights)
    return selectors.alias_get(function=function, name=name)


@transaction.atomic
def alias_delete(
    *,
    function_name: str,
    name: str,
    actor: str,
    now: datetime,
    expected: Collection[str] | None = None,
) -> None:
    """Remove an alias; its versions stay. Raises NotFound, StaleRow, Conflict as an update."""
    function = selectors.function_lock(name=function_name)
    alias = selectors.alias_get(function=function, name=name)
    check_unchanged(alias, expected)
    _check_free(function, name)
    _record(function, alias, verb="alias.delete", actor=actor, now=now, weights=None)
    alias.delete()


def alias_put(
    *, function: Function, name: str, weights: Weights, actor: str, now: datetime
) -> Alias:
    """Make or move an alias of a locked function; called by services that hold it."""
    alias, is_new = Alias.objects.get_or_create(
        function=function, name=name, defaults={"created_at": now, "updated_at": now}
    )
    targets = alias.targets.values_list("version__number", "weight_bps")
    if not is_new:
        if dict(targets) == dict(weights):
            return alias
        alias.targets.all().delete()
        alias.row_version += 1
        alias.updated_at = now
        alias.save(update_fields=["row_version", "updated_at"])
    _point(alias, function, weights)
    verb = "alias.create" if is_new else "alias.update"
    _record(function, alias, verb=verb, actor=actor, now=now, weights=weights)
    return alias


def _check_free(function: Function, name: str) -> None:
    hold = AliasHold.objects.filter(function=function, name=name).first()
    if hold is not None:
        raise Conflict(
            f"Alias {name} is being moved by {hold.holder}; abort it, or wait until it is done.",
            holder=hold.holder,
        )


def _point(alias: Alias, function: Function, weights: Weights) -> None:
    if not weights or len(weights) > TARGETS_MAX or min(weights.values()) < 1:
        raise InvalidInput(
            f"versions: An alias has 1 to {TARGETS_MAX} versions with a weight of 1 or more each."
        )
    total = sum(weights.values())
    if total != limits.BASIS_POINTS:
        raise InvalidInput(
            f"versions: Weights are basis points and sum to {limits.BASIS_POINTS:,}, not {total:,}."
        )
    found = FunctionVersion.objects.filter(function=function, number__in=weights)
    ids = dict(found.values_list("number", "id"))
    if unknown := sorted(set(weights) - set(ids)):
        names = ", ".join(f"v{number}" for number in unknown)
        raise InvalidInput(f"versions: Function {function.name} has no version {names}.")
    AliasTarget.objects.bulk_create(
        AliasTarget(alias=alias, version_id=ids[number], weight_bps=weight)
        for number, weight in weights.items()
    )


def _check_description(description: str) -> None:
    if len(description) > checks.DESCRIPTION_MAX or "\0" in description:
        raise InvalidInput(f"description: At most {checks.DESCRIPTION_MAX:,} characters, none NUL.")


def _record(
    function: Function,
    alias: Alias,
    *,
    verb: str,
    actor: str,
    now: datetime,
    weights: Weights | None,
) -> None:
    detail: dict[str, object] = {"alias": alias.name}
    if weights is not None:
        detail["weights"] = {f"v{number}": weight for number, weight in weights.items()}
    subject = f"function/{function.name}"
    records.routing_mark_dirty(keys=[subject], at=now)
    records.audit_append(verb=verb, subject=subject, actor=actor, at=now, detail=detail)
