"""Create, change, delete, restore and purge functions."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from django.db import IntegrityError, transaction

from functions import checks, selectors
from functions.models import Function
from functions.types import Configuration
from hotswap.core.errors import AlreadyExists, IllegalTransition
from hotswap.db.rows import check_unchanged
from hotswap.records import services as records


@transaction.atomic
def function_create(
    *, name: str, configuration: Configuration, actor: str, now: datetime
) -> Function:
    """Create a function without code.

    Raises:
        InvalidInput: a field is out of its bounds.
        AlreadyExists: the name is taken, also by a deleted function that is not purged yet.
    """
    configuration = function_check(name=name, configuration=configuration)
    try:
        with transaction.atomic():
            function = Function.objects.create(
                name=name,
                created_by=actor,
                created_at=now,
                updated_at=now,
                **_columns(configuration),
            )
    except IntegrityError:
        raise _taken(name) from None
    _record(function, verb="function.create", actor=actor, now=now)
    return function


def function_check(*, name: str, configuration: Configuration) -> Configuration:
    """The configuration with canonical names, when a function could be created from it now.

    Raises:
        InvalidInput, AlreadyExists: as `function_create`.
    """
    checks.check_name(name)
    configuration = checks.checked(configuration)
    if Function.objects.filter(name=name).exists():
        raise _taken(name)
    return configuration


@transaction.atomic
def function_update(
    *,
    name: str,
    changes: Mapping[str, object],
    actor: str,
    now: datetime,
    expected: Collection[str] | None = None,
) -> Function:
    """Change some fields of a function's configuration. The same change again changes nothing.

    Args:
        changes: fields of `Configuration` by name.
        expected: row tags that the caller knows; None skips the comparison.

    Raises:
        NotFound, InvalidInput.
        StaleRow: the function is in none of the expected states.
    """
    function = selectors.function_lock(name=name)
    check_unchanged(function, expected)
    configuration_apply(function=function, changes=changes, actor=actor, now=now)
    return function


def configuration_apply(
    *, function: Function, changes: Mapping[str, object], actor: str, now: datetime
) -> None:
    """Change a locked function's configuration; called by services only."""
    before = selectors.configuration_of(function)
    after = checks.checked(replace(before, **changes))  # type: ignore[arg-type]  # by name
    if after == before:
        return
    for column, value in _columns(after).items():
        setattr(function, column, value)
    function.row_version += 1
    function.updated_at = now
    function.save(update_fields=[*_columns(after), "row_version", "updated_at"])
    changed = sorted(c for c in _columns(after) if getattr(before, c) != getattr(after, c))
    _record(function, verb="function.update", actor=actor, now=now, fields=changed)


@transaction.atomic
def function_delete(
    *, name: str, actor: str, now: datetime, expected: Collection[str] | None = None
) -> None:
    """Take a function out of service. It can be restored until it is purged.

    Raises:
        NotFound: no such function, or it is deleted already.
        StaleRow: as `function_update`.
    """
    function = selectors.function_lock(name=name)
    check_unchanged(function, expected)
    function.deleted_at = now
    function.row_version += 1
    function.save(update_fields=["deleted_at", "row_version"])
    _record(function, verb="function.delete", actor=actor, now=now)


@transaction.atomic
def function_restore(*, name: str, actor: str, now: datetime) -> Function:
    """Put a deleted function back into service, with all its versions and aliases.

    Raises:
        NotFound: there is none, or it was purged.
        IllegalTransition: it is not deleted.
    """
    function = selectors.function_lock(name=name, deleted=True)
    if function.deleted_at is None:
        raise IllegalTransition(f"Function {name} is not deleted.")
    function.deleted_at = None
    function.row_version += 1
    function.updated_at = now
    function.save(update_fields=["deleted_at", "row_version", "updated_at"])
    _record(function, verb="function.restore", actor=actor, now=now)
    return function


def functions_purge(*, before: datetime, now: datetime) -> int:
    """Remove functions deleted before `before` for good; their names become free.

    Returns:
        How many. One transaction each, so a failure keeps the others done.
    """
    names = list(Function.objects.filter(deleted_at__lt=before).values_list("name", flat=True))
    return sum(_purge(name=name, before=before, now=now) for name in names)


@transaction.atomic
def _purge(*, name: str, before: datetime, now: datetime) -> bool:
    doomed = Function.objects.select_for_update().filter(name=name, deleted_at__lt=before).first()
    if doomed is None:
        return False  # restored, or purged by somebody else
    doomed.aliases.all().delete()
    _record(doomed, verb="function.purge", actor="system", now=now)
    doomed.delete()
    return True


def _columns(configuration: Configuration) -> dict[str, object]:
    """Model columns; JSON columns hold plain lists and dicts."""
    return {
        "runtime": configuration.runtime,
        "handler": configuration.handler,
        "memory_mib": configuration.memory_mib,
        "timeout_seconds": configuration.timeout_seconds,
        "environment": dict(configuration.environment),
        "description": configuration.description,
        "tags": list(configuration.tags),
        "metadata": dict(configuration.metadata),
        "reserved_concurrency": configuration.reserved_concurrency,
        "max_instances": configuration.max_instances,
        "idle_timeout_seconds": configuration.idle_timeout_seconds,
        "max_queue": configuration.max_queue,
        "is_idempotent": configuration.is_idempotent,
    }


def _taken(name: str) -> AlreadyExists:
    taken = Function.objects.filter(name=name).first()
    if taken is not None and taken.deleted_at is not None:
        return AlreadyExists(
            f"The name {name} is a deleted function's: restore it, or wait until it is purged."
        )
    return AlreadyExists(f"There is a function {name} already.")


def _record(function: Function, *, verb: str, actor: str, now: datetime, **detail: object) -> None:
    subject = f"function/{function.name}"
    records.routing_mark_dirty(keys=[subject], at=now)
    records.audit_append(verb=verb, subject=subject, actor=actor, at=now, detail=detail)
