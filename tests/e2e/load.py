"""Callers that keep calling a function, and what became of each call."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from tests.e2e.stack import Stack


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `status`: of the answer, or the name of the connection's error."""

    began: float
    ended: float
    status: int | str
    version: str = ""
    text: str = ""


@dataclass(slots=True)
class Load:
    """The calls so far."""

    calls: list[Call] = field(default_factory=list)

    def statuses(self, since: float = 0.0) -> Counter[int | str]:
        """How often each status came, of calls that began at `since` (monotonic) or later."""
        return Counter(call.status for call in self.calls if call.began >= since)

    def recovery(self, fault_at: float) -> float:
        """Seconds from a fault to the beginning of the first good call after the last bad one."""
        after = [call for call in self.calls if call.began >= fault_at]
        bad_until = max((call.ended for call in after if call.status != 200), default=fault_at)
        good = [call.began for call in after if call.status == 200 and call.began >= bad_until]
        assert good, self.statuses(fault_at)
        return min(good) - fault_at


@contextmanager
def load(
    stack: Stack, function: str, *, clients: int = 4, url: str = "", alias: str = ""
) -> Iterator[Load]:
    """Call a function with a fresh nonce each time until the block ends.

    Args:
        url: the gateway's unless given.
    """
    book, over = Load(), threading.Event()
    headers = (
        {"X-HotSwap-Mode": "raw", "X-HotSwap-Alias": alias} if alias else {"X-HotSwap-Mode": "raw"}
    )

    def work() -> None:
        client = stack.client(url or stack.gateway_url)
        while not over.is_set():
            book.calls.append(_call(client, function, headers))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield book
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _call(client: httpx2.Client, function: str, headers: dict[str, str]) -> Call:
    began = time.monotonic()
    try:
        answer = client.post(f"/api/v1/functions/{function}/invoke", content=b"1", headers=headers)
    except httpx2.TransportError as error:
        time.sleep(0.02)
        return Call(began, time.monotonic(), type(error).__name__)
    version = answer.headers.get("x-hotswap-executed-version", "")
    return Call(began, time.monotonic(), answer.status_code, version, answer.text)
