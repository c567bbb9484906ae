"""The gateway process: listener, invocations, probes, and what keeps them up to date."""

import asyncio
import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from hotswap.config import Config
from hotswap.core import clock
from hotswap.core.errors import BadRequest, HotSwapError, NotFound
from hotswap.core.ids import boot_id
from hotswap.wire.rollouts import EVIDENCE_SECONDS
from runners.gateway.answers import problem
from runners.gateway.auth import Authenticator
from runners.gateway.evidence import Evidence
from runners.gateway.http1 import Connection, Exchange, Request
from runners.gateway.invoke import PREFIX, Invoker
from runners.gateway.metrics import render
from runners.gateway.routes import Routes
from runners.gateway.stats import Stats
from runners.gateway.upstream import Upstream
from runners.link.client import control_plane
from runners.link.feed import Changed, TableFeed
from runners.link.reports import ReportSender

log = logging.getLogger("hotswap.gateway")

REPORT_SECONDS = 1.0
EVIDENCE_TIMEOUT_SECONDS = 5.0  # a lease must be renewed in time, so a lost report goes again
SWEEP_SECONDS = 1.0
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
_METRICS = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"


class Gateway:
    """Everything one gateway process holds."""

    def __init__(self, config: Config, number: int) -> None:
        self._config = config
        self.node = f"{socket.gethostname()}-{number}"
        self._connections: set[Connection] = set()
        self._draining = False
        self._client = control_plane(config.web.url, config.core.internal_token)
        self._stats = Stats(
            node=self.node,
            boot=boot_id(),
            records_per_report=max(1, int(config.gateway.records_per_second * REPORT_SECONDS)),
        )
        self._auth = Authenticator()
        self._evidence = Evidence(node=self.node, boot=boot_id())
        self._routes = Routes(self._stats, self._evidence)
        self.wanted = self._routes.wanted
        self._upstream = Upstream(
            sockets=[runner.socket for runner in config.runners], node=self.node
        )
        self._invoker = Invoker(
            auth=self._auth, routes=self._routes, upstream=self._upstream, stats=self._stats
        )
        self._feed = TableFeed(
            role="gateway",
            node=self.node,
            client=self._client,
            copy=config.core.state_dir / "gateway" / "table.json",
            on_change=self._apply,
        )
        self._reports = ReportSender(
            client=self._client, path="/internal/v1/reports", collect=self._stats.collect
        )
        self._evidence_reports = ReportSender(
            client=self._client,
            path="/internal/v1/evidence",
            collect=self._evidence.collect,
            on_answer=self._evidence.answered,
            timeout_seconds=EVIDENCE_TIMEOUT_SECONDS,
        )

    def _apply(self, changed: Changed) -> None:
        self._auth.apply(changed)
        self._routes.apply(changed)

    # Requests

    def handle(self, connection: Connection, request: Request) -> Exchange | None:
        """Answer one request."""
        if request.path.startswith(PREFIX):
            return self._invoker.invoke(connection, request)
        try:
            connection.respond(*self._probe(request))
        except HotSwapError as error:
            connection.respond(*problem(error, ""))
        return None

    def _probe(self, request: Request) -> tuple[int, bytes, bytes]:
        if request.method not in (b"GET", b"HEAD"):
            raise NotFound("this address serves invocations, /healthz, /readyz and /metrics")
        if request.path == b"/healthz":
            return 200, _TEXT, b"ok\n"
        if request.path == b"/readyz":
            missing = self._missing()
            return (503, _TEXT, missing.encode()) if missing else (200, _TEXT, b"ready\n")
        if request.path == b"/metrics":
            return 200, _METRICS, self._metrics()
        raise NotFound("this address serves invocations, /healthz, /readyz and /metrics")

    def _missing(self) -> str:
        if self._draining:
            return "draining\n"
        if not self._upstream.is_connected:
            return "no runner is connected\n"
        return "" if self._feed.revision else "no routing table yet\n"

    def _metrics(self) -> bytes:
        fresh_at = self._feed.fresh_at
        return render(
            self._stats,
            revision=self._feed.revision,
            table_age=clock.monotonic() - fresh_at if fresh_at else -1.0,
            connections=len(self._connections),
            in_flight=self._upstream.in_flight,
            functions=len(self._routes),
            splits=self._routes.splits(),
        )

    def refuse(self, connection: Connection, status: int, detail: str) -> None:
        """Answer what could not be read as a request, then close."""
        error = BadRequest(detail)
        _, headers, body = problem(error, "")
        phrase = HTTPStatus(status).phrase.encode()
        body = body.replace(b'"status":400', b'"status":%d' % status)
        body = body.replace(b"Malformed request", phrase)
        connection.respond(status, headers, body)

    # Life

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set, then drain."""
        self._feed.load_copy()
        server = await self._listen()
        work = [
            asyncio.create_task(self._feed.follow(), name="feed"),
            asyncio.create_task(self._upstream.keep_connected(), name="upstream"),
            asyncio.create_task(self._upstream.sweep(), name="deadlines"),
            asyncio.create_task(self._reports.run(REPORT_SECONDS), name="reports"),
            asyncio.create_task(self._evidence_reports.run(EVIDENCE_SECONDS), name="evidence"),
            asyncio.create_task(self._sweep(), name="connections"),
        ]
        ready()
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait(), name="stop")
        done, _ = await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.close()
        await self._drain()
        for task in work:
            task.cancel()
        self._upstream.close()
        await asyncio.sleep(0)  # calls that outlasted the drain learn that their link is closed
        self._evidence.close()
        await asyncio.gather(self._reports.flush(2.0), self._evidence_reports.flush(2.0))
        await self._client.aclose()
        for task in done - {stopping}:
            task.result()  # a background task that ended has failed: say why

    async def _listen(self) -> asyncio.AbstractServer:
        timeouts = (
            self._config.gateway.header_timeout_seconds,
            self._config.gateway.body_timeout_seconds,
            self._config.gateway.idle_timeout_seconds,
        )

        def connect() -> asyncio.Protocol:
            if len(self._connections) >= self._config.gateway.max_connections:
                return _Refused()
            return Connection(self, self._connections, timeouts)

        return await asyncio.get_running_loop().create_server(
            connect,
            self._config.gateway.host,
            self._config.gateway.port,
            backlog=1024,
            reuse_port=True,
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = clock.monotonic()
            for connection in list(self._connections):
                connection.sweep(now)

    async def _drain(self) -> None:
        """Finish calls in flight; keep-alive connections are told to go."""
        self._draining = True
        deadline = clock.monotonic() + self._config.gateway.drain_seconds
        for connection in list(self._connections):
            connection.close_when_idle()
        while self._connections and clock.monotonic() < deadline:  # noqa: ASYNC110  # at the end
            await asyncio.sleep(0.02)


class _Refused(asyncio.Protocol):
    """Too many connections: say so and close, before anything is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
            b"Connection: close\r\n\r\n"
        )
        transport.close()
