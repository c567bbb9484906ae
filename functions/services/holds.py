"""What a deployment takes hold of while it runs, and the one way it moves an alias."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from functions import selectors
from functions.models import Alias, AliasHold, VersionPin
from functions.services.aliases import alias_put
from hotswap.core.errors import Conflict
from hotswap.core.limits import BASIS_POINTS


@transaction.atomic
def hold_take(
    *, function_name: str, alias: str, version_ids: Collection[int], holder: str, now: datetime
) -> None:
    """Keep an alias and versions for `holder`. Taking the same again changes nothing.

    Raises:
        NotFound: no such function.
        Conflict: another holds the alias.
    """
    function = selectors.function_lock(name=function_name)
    row, _ = AliasHold.objects.get_or_create(
        function=function, name=alias, defaults={"holder": holder, "created_at": now}
    )
    if row.holder != holder:
        raise Conflict(f"Alias {alias} is being moved by {row.holder}.")
    versions_pin(version_ids=version_ids, holder=holder, now=now)


def versions_pin(*, version_ids: Collection[int], holder: str, now: datetime) -> None:
    """Keep versions of a locked function from being deleted. Pinning again changes nothing."""
    VersionPin.objects.bulk_create(
        [VersionPin(version_id=pk, holder=holder, created_at=now) for pk in version_ids],
        ignore_conflicts=True,
    )


def holds_release(*, holder: str) -> None:
    """Give up everything that `holder` has; nothing is fine too."""
    VersionPin.objects.filter(holder=holder).delete()
    AliasHold.objects.filter(holder=holder).delete()


@transaction.atomic
def alias_point(
    *, function_name: str, name: str, number: int, holder: str, actor: str, now: datetime
) -> Alias:
    """Lead an alias, made where there is none, to one version alone. Again changes nothing.

    Raises:
        NotFound: no such function.
        Conflict: `holder` does not hold the alias.
        InvalidInput: no such version.
    """
    function = selectors.function_lock(name=function_name)
    if not AliasHold.objects.filter(function=function, name=name, holder=holder).exists():
        raise Conflict(f"Alias {name} is not held by {holder}.")
    return alias_put(
        function=function, name=name, weights={number: BASIS_POINTS}, actor=actor, now=now
    )
