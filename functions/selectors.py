"""Reads: functions, versions and aliases, by the names that users give them."""

from collections.abc import Iterable

from django.db.models import IntegerField, OuterRef, Prefetch, QuerySet, Subquery

from functions.checks import VERSION
from functions.models import Alias, AliasTarget, Artifact, Function, FunctionVersion
from functions.types import Configuration
from hotswap.core.errors import NotFound

LATEST = "$LATEST"


def function_list(*, deleted: bool = False) -> QuerySet[Function]:
    """Functions, each with `latest_number`; with `deleted` those that wait to be purged."""
    return (
        Function.objects.filter(deleted_at__isnull=not deleted)
        .annotate(latest_number=_latest_number())
        .defer("environment", "metadata")
    )


def function_get(*, name: str) -> Function:
    """A function, with `latest_number` and its aliases.

    Raises:
        NotFound: no such function, or it is deleted; then the message says how long it can
            be restored.
    """
    functions = Function.objects.annotate(latest_number=_latest_number())
    function = functions.prefetch_related(_aliases()).filter(name=name).first()
    return _living(function, name)


def function_names(*, ids: list[int] | None = None) -> dict[int, str]:
    """Names by id, deleted functions included: records outlive them."""
    functions = Function.objects.all() if ids is None else Function.objects.filter(id__in=ids)
    return dict(functions.values_list("id", "name"))


def function_name_of(column: str) -> Subquery:
    """For other apps' queries: the name of the function whose id is in their `column`."""
    return Subquery(Function.objects.filter(id=OuterRef(column)).values("name")[:1])


def names_like(*, prefix: str) -> set[str]:
    """Names that begin so, also of deleted functions: they are taken."""
    return set(Function.objects.filter(name__startswith=prefix).values_list("name", flat=True))


def runtimes_in_use() -> list[str]:
    """Runtimes of functions in service, each once."""
    rows = Function.objects.filter(deleted_at=None).order_by("runtime")
    return list(rows.values_list("runtime", flat=True).distinct())


def function_lock(*, name: str, deleted: bool = False) -> Function:
    """A function whose row is locked until the transaction ends.

    Whoever changes a function, its versions or its aliases takes this lock first.

    Raises:
        NotFound: as `function_get`.
    """
    function = Function.objects.select_for_update().filter(name=name).first()
    if deleted and function is not None and function.deleted_at is not None:
        return function
    return _living(function, name)


def configuration_of(function: Function) -> Configuration:
    """What the next version would take, and the live limits."""
    return Configuration(
        runtime=function.runtime,
        handler=function.handler,
        memory_mib=function.memory_mib,
        timeout_seconds=function.timeout_seconds,
        environment=function.environment,
        description=function.description,
        tags=tuple(function.tags),
        metadata=function.metadata,
        reserved_concurrency=function.reserved_concurrency,
        max_instances=function.max_instances,
        idle_timeout_seconds=function.idle_timeout_seconds,
        max_queue=function.max_queue,
        is_idempotent=function.is_idempotent,
    )


def version_list(*, function: Function) -> QuerySet[FunctionVersion]:
    """Versions of a function with their artifacts and the aliases that lead to them."""
    targets = AliasTarget.objects.select_related("alias").order_by("alias__name")
    return (
        FunctionVersion.objects.filter(function=function)
        .select_related("artifact", "function")
        .prefetch_related(Prefetch("alias_targets", queryset=targets))
    )


def version_get(*, function: Function, version: str) -> FunctionVersion:
    """A version by `v3`, `3` or `$LATEST`.

    Raises:
        NotFound: there is none of that number, or none at all yet.
    """
    versions = version_list(function=function)
    if version == LATEST:
        found = versions.order_by("-number").first()
        if found is None:
            raise NotFound(f"Function {function.name} has no version yet; upload its code first.")
        return found
    number = VERSION.fullmatch(version)
    found = versions.filter(number=int(number[1])).first() if number else None
    if found is None:
        raise NotFound(f"Function {function.name} has no version {version}.")
    return found


def version_labels(*, ids: list[int]) -> dict[int, tuple[str, int]]:
    """(function name, version number) by version id; versions that are gone are left out."""
    rows = FunctionVersion.objects.filter(id__in=ids)
    return {
        pk: (name, number)
        for pk, name, number in rows.values_list("id", "function__name", "number")
    }


def version_owners(*, ids: Iterable[int]) -> dict[int, int]:
    """Function id by version id; versions that are gone are left out."""
    rows = FunctionVersion.objects.filter(id__in=list(ids))
    return dict(rows.values_list("id", "function_id"))


def versions_newest(*, function_ids: Iterable[int]) -> dict[int, FunctionVersion]:
    """The newest version of each function by function id; functions without code are left out."""
    rows = FunctionVersion.objects.filter(function_id__in=list(function_ids))
    newest = rows.order_by("function_id", "-number").distinct("function_id").defer("environment")
    return {version.function_id: version for version in newest}


def version_recent(*, limit: int) -> QuerySet[FunctionVersion]:
    """The newest versions of all functions in service."""
    rows = FunctionVersion.objects.filter(function__deleted_at=None).select_related("function")
    return rows.order_by("-id").defer("environment")[:limit]


def has_second_version() -> bool:
    """Whether any function has been changed since it was made."""
    return FunctionVersion.objects.filter(number__gt=1).exists()


def version_ids(*, name: str) -> list[int]:
    """Ids of a function's versions, deleted functions included."""
    rows = FunctionVersion.objects.filter(function__name=name)
    return list(rows.order_by("number").values_list("id", flat=True))


def alias_list(*, function: Function) -> QuerySet[Alias]:
    """Aliases of a function with their targets."""
    return Alias.objects.filter(function=function).prefetch_related(_targets())


def has_alias() -> bool:
    """Whether there is any alias."""
    return Alias.objects.exists()


def aliases_by_function(*, function_ids: Iterable[int]) -> dict[int, list[Alias]]:
    """Aliases with their targets by function id, each function's by name."""
    rows = Alias.objects.filter(function_id__in=list(function_ids)).order_by("name")
    found: dict[int, list[Alias]] = {}
    for alias in rows.prefetch_related(_targets()):
        found.setdefault(alias.function_id, []).append(alias)
    return found


def alias_get(*, function: Function, name: str) -> Alias:
    """An alias by name; raises NotFound."""
    alias = alias_list(function=function).filter(name=name).first()
    if alias is None:
        raise NotFound(f"Function {function.name} has no alias {name}.")
    return alias


def artifact_get(*, sha256: str) -> Artifact:
    """A stored package by its hash; raises NotFound."""
    artifact = Artifact.objects.filter(sha256=sha256).first()
    if artifact is None:
        raise NotFound("There is no package with this hash.")
    return artifact


def _living(function: Function | None, name: str) -> Function:
    if function is None:
        raise NotFound(f"There is no function {name}.")
    if function.deleted_at is not None:
        raise NotFound(f"Function {name} is deleted; it can be restored until it is purged.")
    return function


def _latest_number() -> Subquery:
    newest = FunctionVersion.objects.filter(function=OuterRef("pk")).order_by("-number")
    return Subquery(newest.values("number")[:1], output_field=IntegerField())


def _targets() -> "Prefetch[str]":
    targets = AliasTarget.objects.select_related("version").order_by("version__number")
    return Prefetch("targets", queryset=targets)


def _aliases() -> "Prefetch[str]":
    return Prefetch("aliases", queryset=Alias.objects.prefetch_related(_targets()).order_by("name"))
