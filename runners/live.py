"""Hints that a function has new log lines. The lines themselves are read from the store."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from channels.layers import get_channel_layer

log = logging.getLogger("hotswap.logs")

_PATIENCE_SECONDS = 0.5
_TRY_AGAIN_SECONDS = 5.0


def _group(function_id: int) -> str:
    """The channel layer's group of everybody who watches a function's log."""
    return f"logs.{function_id}"


async def announce(last_seqs: Mapping[int, int]) -> None:
    """Tell watchers how far their functions' logs have come; call after the commit.

    Never raises and never waits long: a watcher who got no hint looks by itself within a
    second.
    """
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            for function_id, last_seq in last_seqs.items():
                hint = {"type": "logs.hint", "function_id": function_id, "last_seq": last_seq}
                await layer.group_send(_group(function_id), hint)
    except Exception as exc:  # noqa: BLE001  (each layer has errors of its own; a hint is a hint)
        log.warning("watchers of logs were not told: %s", exc or type(exc).__name__)


async def follow(function_id: int, news: asyncio.Event) -> None:
    """Set `news` at every hint, until cancelled; outlives failures of the channel layer."""
    layer = get_channel_layer()
    while layer is not None:
        try:
            await _listen(layer, _group(function_id), news)
        except Exception as exc:  # noqa: BLE001  (as above)
            log.warning("no hints of new logs: %s", exc or type(exc).__name__)
        await asyncio.sleep(_TRY_AGAIN_SECONDS)


async def _listen(layer: Any, group: str, news: asyncio.Event) -> None:
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    try:
        while True:
            await layer.receive(channel)
            news.set()
    finally:
        with contextlib.suppress(Exception):
            await layer.group_discard(group, channel)
