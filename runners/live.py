"""Hints that a function has new log lines. The lines themselves are read from the store."""

import asyncio
import logging
from collections.abc import Mapping

from channels.layers import get_channel_layer

log = logging.getLogger("hotswap.logs")

HINT = "logs.hint"
_PATIENCE_SECONDS = 0.5


def group(function_id: int) -> str:
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
                hint = {"type": HINT, "function_id": function_id, "last_seq": last_seq}
                await layer.group_send(group(function_id), hint)
    except Exception as exc:  # noqa: BLE001  (each layer has errors of its own; a hint is a hint)
        log.warning("watchers of logs were not told: %s", exc or type(exc).__name__)
