"""Publishes the routing table: dirty keys in, one new revision out.

Services mark keys dirty in their own transaction. Right after the commit the same process
publishes them, because the caller of the API waits for it; a periodic sweep does it for a
process that died in between, and compares what is published with what should be. Renderers
read under the lock of the rows they show, so an entry never mixes two states.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from django.db import transaction

from deployments import routes as deployment_routes
from functions import routes as function_routes
from hotswap.access import routes as access_routes
from hotswap.core import clock
from hotswap.db import locks
from hotswap.records import services as records
from hotswap.records import table
from hotswap.records.models import OutboxEvent, RoutingEntry
from hotswap.records.table import Bodies

Render = Callable[[Collection[str]], Mapping[str, Bodies]]
"""Names of one kind -> bodies; a name that is left out is gone."""

RENDERERS: dict[str, Render] = {
    "function": function_routes.render,
    "split": deployment_routes.render,
    "token": access_routes.render_tokens,
    "key": access_routes.render_keys,
}
LISTERS: dict[str, Callable[[], Collection[str]]] = {
    "function": function_routes.names,
    "split": deployment_routes.names,
    "token": access_routes.token_names,
    "key": access_routes.key_names,
}


@transaction.atomic
def publish() -> int:
    """Publish every dirty key that is committed. Safe to run at any time and at once.

    Returns:
        The newest revision afterwards.
    """
    locks.acquire(locks.Lock.PUBLISHER)
    dirty = list(OutboxEvent.objects.filter(kind=records.ROUTING).order_by("id"))
    if not dirty:
        return table.current_revision()
    number = table.revision_write(
        rendered=_render({event.key for event in dirty}), now=clock.utc_now()
    )
    OutboxEvent.objects.filter(id__in=[event.id for event in dirty]).delete()
    return number


def sweep(*, now: datetime) -> int:
    """Mark entries that are missing or should be gone, then publish. Returns the revision."""
    should = {f"{kind}/{name}" for kind, names in LISTERS.items() for name in names()}
    live = RoutingEntry.objects.filter(is_deleted=False)
    published = set(live.values_list("key", flat=True))
    with transaction.atomic():
        records.routing_mark_dirty(keys=should ^ published, at=now)
    return publish()


def _render(keys: Collection[str]) -> dict[str, Bodies | None]:
    rendered: dict[str, Bodies | None] = {}
    for kind, render in RENDERERS.items():
        prefix = f"{kind}/"
        names = [key.removeprefix(prefix) for key in sorted(keys) if key.startswith(prefix)]
        bodies = render(names) if names else {}
        rendered.update({prefix + name: bodies.get(name) for name in names})
    return rendered
