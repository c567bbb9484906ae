"""The control plane as the data plane sees it: table feed, artifacts, reports, leases. In memory.

Gateway and runner processes under test are real; this stands in for web and Postgres, so
that a test of the data plane starts in a second and can take the control plane away.
"""

import asyncio
import hashlib
import io
import itertools
import threading
import uuid
import zipfile
from collections.abc import Mapping
from typing import Any

import msgspec
import uvicorn

from hotswap.wire.reports import GatewayReport, Heartbeat, LogReport
from hotswap.wire.rollouts import (
    LEASE_SECONDS,
    ArmCounts,
    EvidenceAnswer,
    EvidenceReport,
    SplitRoute,
    SplitState,
    WarmRoute,
)
from hotswap.wire.table import (
    SCHEMA,
    Entry,
    Feed,
    FunctionRoute,
    TokenRoute,
    VersionRoute,
    entry_sha256,
    table_digest,
)


def package(files: Mapping[str, str | bytes]) -> bytes:
    """A zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class FakeControlPlane:
    """Start it with `with`; change it from the test's thread.

    Attributes:
        evidence: reports in the order in which they were counted, each once.
        repeated: reports that came again after they were counted.
        lease_ms: what an answer grants to every attempt that was reported; None grants none.
        evidence_faults: what happens to the next reports: "refuse" does not count it and
            answers 503; "lose" counts it and answers 503, so that it comes again.
    """

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._token = token
        self._revision = 0
        self._entries: dict[str, tuple[int, bytes | None, bytes | None]] = {}
        self._artifacts: dict[str, bytes] = {}
        self._ids = itertools.count(1)
        self._functions: dict[str, FunctionRoute] = {}
        self._changed = threading.Condition()
        self.acked: dict[str, int] = {}
        self.reports: list[GatewayReport] = []
        self.logs: list[LogReport] = []
        self.heartbeats: list[Heartbeat] = []
        self.evidence: list[EvidenceReport] = []
        self.repeated = 0
        self.lease_ms: int | None = LEASE_SECONDS * 1000
        self.evidence_faults: list[str] = []
        self._seqs: dict[tuple[str, str], int] = {}
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    # Changes

    def token(self, token: str, *, scopes: tuple[str, ...] = ("functions:invoke",)) -> None:
        sha256 = hashlib.sha256(token.encode()).hexdigest()
        body = msgspec.json.encode(TokenRoute(user="tester", scopes=scopes))
        self._put(f"token/{sha256}", body, body)

    def revoke(self, token: str) -> None:
        self._put(f"token/{hashlib.sha256(token.encode()).hexdigest()}", None, None)

    def version(
        self, name: str, files: Mapping[str, str | bytes], *, runtime: str = "python3.11",
        handler: str = "app.handler", memory_mib: int = 128, timeout_ms: int = 30_000,
        environment: dict[str, str] | None = None, concurrency: int = 1, **limits: Any,
    ) -> int:  # fmt: skip
        """Upload a version; return its number. `limits` go to FunctionRoute."""
        content = package(files)
        sha256 = hashlib.sha256(content).hexdigest()
        self._artifacts[sha256] = content
        old = self._functions.get(name)
        number = len(old.versions) + 1 if old else 1
        version = VersionRoute(
            id=next(self._ids), number=number, runtime=runtime, handler=handler,
            code_sha256=sha256, memory_mib=memory_mib, timeout_ms=timeout_ms,
            concurrency=concurrency, environment=environment or {},
        )  # fmt: skip
        settings: dict[str, Any] = {
            "max_instances": 100, "reserved_concurrency": None, "max_queue": 1_000,
            "idle_timeout_ms": 600_000,
        }  # fmt: skip
        if old:
            settings = {key: getattr(old, key) for key in settings}
        route = FunctionRoute(
            id=old.id if old else next(self._ids), name=name, latest=number,
            versions=(*(old.versions if old else ()), version),
            aliases=old.aliases if old else {}, **(settings | limits),
        )  # fmt: skip
        self.put_function(route)
        return number

    def alias(self, name: str, alias: str, weights: Mapping[int, int]) -> None:
        route = self._functions[name]
        aliases = {**route.aliases, alias: tuple(weights.items())}
        self.put_function(msgspec.structs.replace(route, aliases=aliases))

    def put_function(self, route: FunctionRoute) -> None:
        self._functions[route.name] = route
        bare = tuple(msgspec.structs.replace(v, environment={}) for v in route.versions)
        gateway = msgspec.json.encode(msgspec.structs.replace(route, versions=bare))
        self._put(f"function/{route.name}", gateway, msgspec.json.encode(route))

    def split(self, name: str, alias: str, **fields: Any) -> SplitRoute:
        """Divide an alias, or change how it is divided; return the route.

        A change names only what changes, and gets the next epoch unless it names one.
        `fields` are those of `SplitRoute`; a new split is between versions 1 and 2.
        """
        key = f"split/{name}/{alias}"
        body = self._entries[key][1] if key in self._entries else None
        if body is None:
            base = SplitRoute(uuid.uuid4().hex, 1, 1, 2, 0, salt=uuid.uuid4().hex)
        else:
            base = msgspec.json.decode(body, type=SplitRoute)
            base = msgspec.structs.replace(base, epoch=base.epoch + 1)
        route = msgspec.structs.replace(base, **fields)
        warm = {str(number): 0 for number in (route.stable, route.candidate)}
        self._put(key, msgspec.json.encode(route), msgspec.json.encode(WarmRoute(name, warm)))
        return route

    def end_split(self, name: str, alias: str) -> None:
        self._put(f"split/{name}/{alias}", None, None)

    def warm(self, name: str, alias: str, versions: Mapping[int, int]) -> None:
        """Have every runner keep instances ready, by version number; none ends that."""
        counts = {str(number): count for number, count in versions.items()}
        body = msgspec.json.encode(WarmRoute(name, counts)) if counts else None
        self._put(f"split/{name}/{alias}", None, body)

    def delete(self, name: str) -> None:
        del self._functions[name]
        self._put(f"function/{name}", None, None)

    def function(self, name: str) -> FunctionRoute:
        return self._functions[name]

    def damage_artifact(self, name: str) -> None:
        """Keep the hash, change the bytes."""
        sha256 = self._functions[name].versions[-1].code_sha256
        self._artifacts[sha256] = package({"app.py": "def handler(e, c): return 'evil'"})

    def _put(self, key: str, gateway: bytes | None, runner: bytes | None) -> None:
        with self._changed:
            self._revision += 1
            self._entries[key] = (self._revision, gateway, runner)
            self._changed.notify_all()

    @property
    def revision(self) -> int:
        return self._revision

    def wait_applied(self, nodes: int = 2, within: float = 5.0) -> None:
        """Wait until so many nodes have acknowledged the newest revision."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: sum(a >= self._revision for a in self.acked.values()) >= nodes, within
            )
        assert done, f"revision {self._revision} not applied: {self.acked}"

    # Serving

    def __enter__(self) -> "FakeControlPlane":
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            lifespan="off",
            interface="asgi3",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the fake control plane did not start"
            self._thread.join(0.01)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        status, body = 401, b"{}"
        if headers.get(b"authorization") == f"Bearer {self._token}".encode():
            status, body = await self._answer(scope, receive)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", str(len(body)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Any, receive: Any) -> tuple[int, bytes]:
        path = scope["path"].removeprefix("/internal/v1/")
        if path == "table":
            pairs = (pair.split("=") for pair in scope["query_string"].decode().split("&"))
            return 200, await self._feed(dict(pairs))
        if path.startswith("artifacts/"):
            content = self._artifacts.get(path.removeprefix("artifacts/"))
            return (200, content) if content is not None else (404, b"{}")
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if path == "evidence":
            return self._evidence(msgspec.json.decode(body, type=EvidenceReport))
        if path == "reports":
            self.reports.append(msgspec.json.decode(body, type=GatewayReport))
        elif path == "logs":
            self.logs.append(msgspec.json.decode(body, type=LogReport))
        elif path == "heartbeat":
            self.heartbeats.append(msgspec.json.decode(body, type=Heartbeat))
        return 200, b"{}"

    def _evidence(self, report: EvidenceReport) -> tuple[int, bytes]:
        """Count a report once, by the number of its process; answer with leases."""
        fault = self.evidence_faults.pop(0) if self.evidence_faults else ""
        if fault == "refuse":
            return 503, b"{}"
        process = (report.node, report.boot)
        if report.seq > self._seqs.get(process, 0):
            self._seqs[process] = report.seq
            self.evidence.append(report)
        else:
            self.repeated += 1
        if fault == "lose":
            return 503, b"{}"
        granted = self.lease_ms
        leases = {s.attempt: granted for s in report.splits if granted is not None}
        return 200, msgspec.json.encode(EvidenceAnswer(leases))

    async def _feed(self, query: dict[str, str]) -> bytes:
        after = int(query["after"])
        node = f"{query['role']}/{query['node']}"
        with self._changed:
            self.acked[node] = after
            self._changed.notify_all()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(float(query["wait"]), 1.0)
        while self._revision == after and loop.time() < deadline:  # a thread
            await asyncio.sleep(0.005)
        side = 1 if query["role"] == "gateway" else 2
        full = after == 0 or after > self._revision
        with self._changed:
            entries, digests = [], []
            for key, item in self._entries.items():
                body = item[side]
                assert body is None or isinstance(body, bytes)
                sha256 = entry_sha256(key, body) if body is not None else ""
                if sha256:
                    digests.append(sha256)
                if item[0] > after or full:
                    raw = msgspec.Raw(body if body is not None else b"null")
                    entries.append(Entry(key, item[0], sha256, raw))
            feed = Feed(SCHEMA, self._revision, full, table_digest(digests), entries)
            return msgspec.json.encode(feed)

    # What was reported

    def states(self, attempt: str) -> list[SplitState]:
        """Every report's state of an attempt, oldest first."""
        return [s for report in self.evidence for s in report.splits if s.attempt == attempt]

    def arms(self, attempt: str) -> list[ArmCounts]:
        return [arm for report in self.evidence for arm in report.arms if arm.attempt == attempt]

    def lines(self) -> list[Any]:
        return [line for report in self.logs for line in report.lines]

    def records(self) -> list[Any]:
        return [record for report in self.reports for record in report.records]

    def calls(self, outcome: str = "ok") -> int:
        return sum(
            counts.outcomes.get(outcome, 0) for report in self.reports for counts in report.counts
        )
