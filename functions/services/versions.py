"""Upload versions, delete them, keep their number in bounds."""

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from functions import packages, selectors
from functions.models import Function, FunctionVersion, VersionPin
from functions.packages import Package
from functions.services.artifacts import artifact_keep, artifact_touch
from functions.services.functions import (
    configuration_apply,
    function_check,
    function_create,
)
from functions.types import Configuration
from hotswap import config
from hotswap.core.errors import Conflict, InvalidInput
from hotswap.jobs import Job, enqueue_on_commit
from hotswap.records import services as records

MESSAGE_MAX = 500


def version_create(
    *,
    name: str,
    package: Package,
    actor: str,
    now: datetime,
    message: str = "",
    changes: Mapping[str, object] | None = None,
) -> FunctionVersion:
    """Make the next version of a function from a package and its current configuration.

    Every call makes a version, also with the same bytes: the configuration may differ.

    Args:
        changes: fields of `Configuration` that change with this version.

    Raises:
        NotFound: no such function.
        UnsupportedPackage: the handler's file is missing in it.
        InvalidInput: the message is too long, or a changed field out of its bounds.
    """
    _check_message(message)
    changes = changes or {}
    function = selectors.function_get(name=name)
    _check_handler(function, package, changes)
    artifact_keep(package=package, now=now)  # before the transaction: it may take a while
    with transaction.atomic():
        locked = selectors.function_lock(name=name)
        configuration_apply(function=locked, changes=changes, actor=actor, now=now)
        _check_handler(locked, package, {})
        return _next(locked, sha256=package.sha256, message=message, actor=actor, now=now)


def function_create_with_code(
    *,
    name: str,
    configuration: Configuration,
    package: Package,
    actor: str,
    now: datetime,
    message: str = "",
) -> FunctionVersion:
    """Create a function and its version 1 together; neither when one is refused.

    Raises:
        as `function_create` and `version_create`.
    """
    _check_message(message)
    configuration = function_check(name=name, configuration=configuration)
    packages.check_handler(
        names=package.summary.names,
        runtime=configuration.runtime,
        handler=configuration.handler,
    )
    artifact_keep(package=package, now=now)  # before the transaction: it may take a while
    with transaction.atomic():
        function = function_create(name=name, configuration=configuration, actor=actor, now=now)
        return _next(function, sha256=package.sha256, message=message, actor=actor, now=now)


def version_publish(
    *,
    name: str,
    actor: str,
    now: datetime,
    message: str = "",
    changes: Mapping[str, object] | None = None,
) -> FunctionVersion:
    """Make the next version from the newest version's code and the current configuration.

    Raises:
        NotFound: no such function, or no version whose code could be taken.
        UnsupportedPackage: the handler was changed to one that the code does not have.
    """
    _check_message(message)
    with transaction.atomic():
        function = selectors.function_lock(name=name)
        newest = selectors.version_get(function=function, version=selectors.LATEST)
        configuration_apply(function=function, changes=changes or {}, actor=actor, now=now)
        if (function.runtime, function.handler) != (newest.runtime, newest.handler):
            _check_stored_handler(function, newest.artifact_id)
        artifact_touch(sha256=newest.artifact_id, now=now)
        return _next(function, sha256=newest.artifact_id, message=message, actor=actor, now=now)


@transaction.atomic
def version_delete(*, name: str, version: str, actor: str, now: datetime) -> None:
    """Delete one version. Its number is not used again.

    Raises:
        NotFound: no such function or version.
        Conflict: an alias leads to it (named in `extras["aliases"]`), a deployment needs it,
            or it is the newest.
    """
    function = selectors.function_lock(name=name)
    doomed = selectors.version_get(function=function, version=version)
    aliases = sorted({target.alias.name for target in doomed.alias_targets.all()})
    if aliases:
        names = ", ".join(aliases)
        raise Conflict(
            f"Version v{doomed.number} is in use by alias {names}; move it first.", aliases=aliases
        )
    if pin := VersionPin.objects.filter(version=doomed).first():
        raise Conflict(
            f"Version v{doomed.number} is needed by {pin.holder} until it is done.",
            holder=pin.holder,
        )
    if doomed.number == function.last_number or not _has_newer(function, doomed):
        raise Conflict(f"Version v{doomed.number} is $LATEST; upload a newer one first.")
    number = doomed.number
    doomed.delete()
    _record(function, verb="version.delete", actor=actor, now=now, version=number)


def versions_prune(*, keep: int, now: datetime) -> int:
    """Delete what exceeds the newest `keep` versions of a function and nothing uses.

    Returns:
        How many versions went.
    """
    names = Function.objects.filter(last_number__gt=keep, deleted_at=None)
    return sum(
        _prune(name=name, keep=keep, now=now) for name in names.values_list("name", flat=True)
    )


@transaction.atomic
def _prune(*, name: str, keep: int, now: datetime) -> int:
    function = selectors.function_lock(name=name)
    newest = FunctionVersion.objects.filter(function=function).order_by("-number")
    doomed = FunctionVersion.objects.filter(
        function=function,
        alias_targets=None,
        pins=None,
        id__in=list(newest.values_list("id", flat=True)[keep:]),
    )
    numbers = sorted(doomed.values_list("number", flat=True))
    if not numbers:
        return 0
    FunctionVersion.objects.filter(function=function, number__in=numbers).delete()
    _record(function, verb="version.prune", actor="system", now=now, versions=numbers)
    return len(numbers)


def _next(
    function: Function, *, sha256: str, message: str, actor: str, now: datetime
) -> FunctionVersion:
    """The next number of a locked function: dense, because the counter is behind the lock."""
    function.last_number += 1
    function.row_version += 1
    function.updated_at = now
    function.save(update_fields=["last_number", "row_version", "updated_at"])
    version = FunctionVersion.objects.create(
        function=function,
        number=function.last_number,
        artifact_id=sha256,
        runtime=function.runtime,
        handler=function.handler,
        memory_mib=function.memory_mib,
        timeout_seconds=function.timeout_seconds,
        environment=function.environment,
        message=message,
        author=actor,
        created_at=now,
    )
    _record(function, verb="version.create", actor=actor, now=now, version=version.number)
    if function.last_number > config.current().retention.versions:
        enqueue_on_commit(Job.VERSIONS_PRUNE, key=function.name)
    return version


def _check_message(message: str) -> None:
    if len(message) > MESSAGE_MAX or "\0" in message:
        raise InvalidInput(f"message: It may have at most {MESSAGE_MAX} characters, none NUL.")


def _check_handler(function: Function, package: Package, changes: Mapping[str, object]) -> None:
    packages.check_handler(
        names=package.summary.names,
        runtime=str(changes.get("runtime", function.runtime)),
        handler=str(changes.get("handler", function.handler)),
    )


def _check_stored_handler(function: Function, sha256: str) -> None:
    with packages.fetched(sha256) as path:
        names = tuple(file.name for file in packages.editable_files(path))
    packages.check_handler(names=names, runtime=function.runtime, handler=function.handler)


def _has_newer(function: Function, version: FunctionVersion) -> bool:
    return FunctionVersion.objects.filter(function=function, number__gt=version.number).exists()


def _record(function: Function, *, verb: str, actor: str, now: datetime, **detail: object) -> None:
    subject = f"function/{function.name}"
    records.routing_mark_dirty(keys=[subject], at=now)
    records.audit_append(verb=verb, subject=subject, actor=actor, at=now, detail=detail)
