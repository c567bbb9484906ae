"""Hints over the channel layer that something new is in the store; the store has the truth."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from channels.layers import get_channel_layer

log = logging.getLogger("hotswap.hints")

_PATIENCE_SECONDS = 0.5
_TRY_AGAIN_SECONDS = 5.0


async def announce(news: Mapping[str, Mapping[str, object]]) -> None:
    """Tell the watchers of each group what is new; call after the commit.

    Never raises and never waits long: a watcher who got no hint looks by itself within a
    second.
    """
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            for group, facts in news.items():
                await layer.group_send(group, {"type": "hint", **facts})
    except Exception as exc:  # noqa: BLE001  (each layer has errors of its own; a hint is a hint)
        log.warning("watchers were not told: %s", exc or type(exc).__name__)


async def follow(group: str, news: asyncio.Event) -> None:
    """Set `news` at every hint, until cancelled; outlives failures of the channel layer."""
    layer = get_channel_layer()
    while layer is not None:
        try:
            await _listen(layer, group, news)
        except Exception as exc:  # noqa: BLE001  (as above)
            log.warning("no hints of news: %s", exc or type(exc).__name__)
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
