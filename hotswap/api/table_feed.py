"""`GET /internal/v1/table`: the routing table's changes, as a long-poll."""

import asyncio
import contextlib
from typing import get_args

import msgspec
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from hotswap.api.internal import internal_only
from hotswap.core import clock
from hotswap.core.errors import BadRequest
from hotswap.records import table
from hotswap.records.listener import listener
from hotswap.wire.table import Feed

WAIT_MAX_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 1.0
NODE_NAME_MAX = 128


class _Question(msgspec.Struct, frozen=True):
    """The query. `after` is the revision that the node has, which acknowledges it."""

    role: table.Role
    node: str
    after: int
    wait: float


def _question(request: HttpRequest) -> _Question:
    query = {name: request.GET.get(name, "0") for name in ("after", "wait")}
    query |= {name: request.GET.get(name, "") for name in ("role", "node")}
    try:
        question = msgspec.convert(query, _Question, strict=False)
    except msgspec.ValidationError as exc:
        raise BadRequest(f"The table feed was asked wrongly: {exc}.") from None
    if not 0 < len(question.node) <= NODE_NAME_MAX or question.after < 0:
        roles = " or ".join(get_args(table.Role))
        raise BadRequest(f"The table feed needs role ({roles}), node, and after from 0.")
    return question


@internal_only
@require_GET
async def table_feed(request: HttpRequest) -> HttpResponse:
    """Entries above `after`; waits up to `wait` seconds for the first of them."""
    question = _question(request)
    ends_at = clock.monotonic() + min(question.wait, WAIT_MAX_SECONDS)
    while True:
        changed = listener().next_change()
        feed = await sync_to_async(_look)(question)
        left = ends_at - clock.monotonic()
        if feed.revision != question.after or left <= 0:
            return HttpResponse(msgspec.json.encode(feed), content_type="application/json")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), min(left, LOOK_AGAIN_SECONDS))


def _look(question: _Question) -> Feed:
    """Note the acknowledgement, then read: a waiting node stays visibly alive."""
    table.reader_seen(
        role=question.role,
        node=question.node,
        acked_revision=question.after,
        now=clock.utc_now(),
    )
    feed = table.feed_read(role=question.role, after=question.after)
    close_old_connections()  # back to the pool: the wait may be long
    return feed
