"""What every data-plane process does at its start: loop, logging, signals, collector."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

Serve = Callable[[asyncio.Event], Awaitable[None]]


def serve(name: str, run: Serve) -> None:
    """Run `run(stop)` on uvloop until SIGTERM or SIGINT sets `stop`."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(run))


async def _serve(run: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What was built at start-up lives for ever; collections should not walk it again, and
    # calls make almost no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    await run(stop)
