"""One blocking caller on one keep-alive connection: for times of single calls."""

import http.client
import time
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long after the request was written."""

    status: int
    body: bytes
    headers: dict[str, str]
    seconds: float


class Caller:
    """Calls functions in raw mode.

    Args:
        url: of the gateway.
    """

    def __init__(self, url: str, token: str, timeout_seconds: float = 60) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=timeout_seconds
        )
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "X-HotSwap-Mode": "raw",
        }

    def call(
        self, function: str, body: bytes = b"", *, version: int | None = None, alias: str = ""
    ) -> Answer:
        """Invoke and read the whole answer."""
        headers = dict(self._headers)
        if version is not None:
            headers["X-HotSwap-Version"] = str(version)
        if alias:
            headers["X-HotSwap-Alias"] = alias
        started = time.perf_counter()
        self._connection.request("POST", f"/api/v1/functions/{function}/invoke", body, headers)
        response = self._connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - started
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, content, named, seconds)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
