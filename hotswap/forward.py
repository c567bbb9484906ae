"""Invocations that arrive at the web server go on to the gateway, as streams, without Django.

One address then serves everything on a laptop; the gateway's own port is there for speed.
The gateway judges the token. Cookies stay here: a browser's session is not for functions,
and a function must not set one on the portal's origin.
"""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import httpx2

from hotswap.core import ids
from hotswap.core.errors import HotSwapError, Unavailable, UpstreamFailed

log = logging.getLogger("hotswap.forward")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

INVOCATION: Final = re.compile(r"/api/v1/functions/[^/]+/invoke(-stream|-async)?")
LONGEST_CALL_SECONDS: Final = 960.0
_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive te trailer transfer-encoding upgrade proxy-connection"
    b" proxy-authenticate proxy-authorization".split()
)
_NOT_SENT: Final = _HOP_BY_HOP | {b"host", b"cookie", b"expect"}
_NOT_RETURNED: Final = _HOP_BY_HOP | {b"set-cookie", b"content-security-policy", b"server"}
_ADDED: Final[Headers] = [
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
]


class Forwarder:
    """ASGI application: invocations to the gateway, everything else to `app`."""

    def __init__(self, *, gateway_url: str, app: App) -> None:
        self._gateway_url = gateway_url
        self._app = app
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = (
            WeakKeyDictionary()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and INVOCATION.fullmatch(scope["path"]):
            await _until_gone(self._exchange, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            event = (await receive())["type"]
            if event == "lifespan.shutdown":
                for client in self._clients.values():
                    await client.aclose()
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = httpx2.AsyncClient(
                base_url=self._gateway_url,
                timeout=httpx2.Timeout(LONGEST_CALL_SECONDS, connect=2.0, pool=5.0),
                limits=httpx2.Limits(max_connections=2_000, max_keepalive_connections=200),
                trust_env=False,
            )
        return self._clients[loop]

    async def _exchange(self, scope: Scope, body: AsyncIterator[bytes], send: Send) -> None:
        client = self._client()
        query = scope.get("query_string", b"")
        request = client.build_request(
            scope["method"],
            httpx2.URL(self._gateway_url).copy_with(
                raw_path=scope.get("raw_path", scope["path"].encode())
                + (b"?" + query) * bool(query)
            ),
            headers=_kept(scope["headers"], _NOT_SENT),
            content=body,
        )
        try:
            response = await client.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as exc:
            log.warning("the gateway does not answer: %s", exc)
            await _problem(send, Unavailable("The gateway is not running; try again soon."))
            return
        except httpx2.HTTPError as exc:
            log.warning("the gateway broke the connection: %r", exc)
            await _problem(send, UpstreamFailed("The gateway broke the connection."))
            return
        try:
            await _relay(response, send)
        finally:
            await response.aclose()


async def _until_gone(
    exchange: Callable[[Scope, AsyncIterator[bytes], Send], Awaitable[None]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Run the exchange; a caller who hangs up ends it, and with it the gateway's connection."""
    finished = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise httpx2.ReadError("the caller hung up")
            more = message.get("more_body", False)
            yield message.get("body", b"")
        finished.set()

    async def gone() -> None:
        await finished.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    work = asyncio.ensure_future(exchange(scope, body(), send))
    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        for task in (work, watch):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _relay(response: httpx2.Response, send: Send) -> None:
    headers = [*_kept(response.headers.raw, _NOT_RETURNED), *_ADDED]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    async for chunk in response.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _problem(send: Send, error: HotSwapError) -> None:
    request_id = ids.request_id()
    body = json.dumps({**error.problem(), "instance": request_id}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
        (b"x-request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _kept(headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes]) -> Headers:
    return [(name.lower(), value) for name, value in headers if name.lower() not in dropped]
