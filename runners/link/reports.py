"""Sends numbered reports to the control plane; each is counted there once.

A report is repeated unchanged until it is acknowledged; what happens meanwhile goes into
the next one. See `hotswap.wire.reports`.
"""

import asyncio
import logging
from collections.abc import Callable

import httpx2

from hotswap.core import clock

log = logging.getLogger("hotswap.reports")

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)


class ReportSender:
    """Posts what `collect` gives, in order, at most one at a time.

    Args:
        path: below the control plane's address.
        collect: takes the next sequence number, returns an encoded report, or None when
            there is nothing to say.
        on_answer: gets the answer's body and the monotonic time at which the report that it
            answers was sent; not called for a report that was refused.
        timeout_seconds: how long to wait for an answer before the report is repeated.
    """

    def __init__(
        self,
        *,
        client: httpx2.AsyncClient,
        path: str,
        collect: Callable[[int], bytes | None],
        on_answer: Callable[[bytes, float], None] | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._client = client
        self._path = path
        self._collect = collect
        self._on_answer = on_answer
        self._timeout = httpx2.Timeout(timeout_seconds, connect=2.0)
        self._seq = 0
        self._pending: bytes | None = None

    async def run(self, every_seconds: float) -> None:
        """Send for ever; returns only by cancellation."""
        failures = 0
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self._send_next()
                failures = 0
            except httpx2.HTTPError as exc:
                if failures == 0:
                    log.warning("%s: %s", self._path, exc or type(exc).__name__)
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1

    async def flush(self, within_seconds: float) -> None:
        """Send what is left before the process ends; gives up after the time."""
        try:
            async with asyncio.timeout(within_seconds):
                while await self._send_next():
                    pass
        except (httpx2.HTTPError, TimeoutError) as exc:
            log.warning("%s: last report lost: %s", self._path, exc or type(exc).__name__)

    async def _send_next(self) -> bool:
        if self._pending is None:
            self._pending = self._collect(self._seq + 1)
            if self._pending is None:
                return False
            self._seq += 1
        sent_at = clock.monotonic()
        response = await self._client.post(
            self._path,
            content=self._pending,
            headers={"Content-Type": "application/json"},
            timeout=self._timeout,
        )
        if 400 <= response.status_code < 500 and response.status_code != 429:
            # Repeating a refused report for ever would block all later ones.
            log.error("%s refused report %d: %s", self._path, self._seq, response.text[:300])
        else:
            response.raise_for_status()
            if self._on_answer is not None:
                self._on_answer(response.content, sent_at)
        self._pending = None
        return True
