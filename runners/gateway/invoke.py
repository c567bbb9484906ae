"""The hot path: one call in, one answer out. Callbacks only, no task, no I/O but the link."""

from random import getrandbits
from typing import Any

import msgspec

from hotswap.core import clock
from hotswap.core.errors import (
    BadRequest,
    FunctionFailed,
    HotSwapError,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    Unimplemented,
    UpstreamFailed,
    all_errors,
)
from hotswap.core.ids import request_id
from hotswap.core.limits import REQUEST_MAX_BYTES, STREAM_WINDOW_BYTES
from hotswap.wire.reports import Invoked
from runners.gateway.answers import (
    Outcome,
    detail_headers,
    envelope,
    identity_headers,
    problem,
    raw_headers,
)
from runners.gateway.auth import Authenticator, Grant
from runners.gateway.http1 import Connection, Request
from runners.gateway.mirror import MIRROR_MAX_BYTES, Mirror
from runners.gateway.routes import Routes, Target
from runners.gateway.splits import Draw
from runners.gateway.stats import Stats
from runners.gateway.upstream import RunnerLink, Upstream
from runners.link.frames import decode_json, encode_json
from runtimes.protocol.framing import FrameType

PREFIX = b"/api/v1/functions/"
SAFETY_SECONDS = 5.0  # the runner keeps the deadline; this is for a runner that does not
CREDIT_STEP = STREAM_WINDOW_BYTES // 4
ERROR_KEPT_BYTES = 8 * 1024

_REPLY, _BEGIN, _CHUNK, _END = (
    int(FrameType.REPLY),
    int(FrameType.BEGIN),
    int(FrameType.CHUNK),
    int(FrameType.END),
)
_ERRORS = all_errors()


class Envelope(msgspec.Struct, rename="camel"):
    """The specification's request body; `payload` is a JSON string or any JSON value."""

    payload: msgspec.Raw = msgspec.Raw(b"")
    alias: str | None = None
    version: str | int | None = None
    invocation_type: str = "RequestResponse"


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_error = msgspec.json.Decoder(dict[str, Any]).decode


class Invoker:
    """Authenticates, routes and sends calls."""

    __slots__ = ("_auth", "_routes", "_stats", "_upstream")

    def __init__(
        self, *, auth: Authenticator, routes: Routes, upstream: Upstream, stats: Stats
    ) -> None:
        self._auth = auth
        self._routes = routes
        self._upstream = upstream
        self._stats = stats

    def invoke(self, connection: Connection, request: Request) -> "Call | None":
        """Start a call below `PREFIX`, or answer at once why not."""
        name, _, action = request.path[len(PREFIX) :].partition(b"/")
        call_id = request_id()
        try:
            return self._send(connection, request, call_id, name.decode("latin-1"), action)
        except HotSwapError as error:
            connection.respond(*problem(error, call_id))
            return None

    def _send(
        self, connection: Connection, request: Request, call_id: str, name: str, action: bytes
    ) -> "Call":
        wants_stream = action == b"invoke-stream"
        if not wants_stream and action != b"invoke":
            _refuse_action(action)
        if request.method != b"POST":
            raise _MethodNotAllowed("invoke with POST")
        grant = self._auth.grant(request.headers.get(b"authorization"))
        function = self._routes.get(name)
        if function is None:
            raise NotFound(f"there is no function {name!r}")

        raw = request.headers.get(b"x-hotswap-mode") == b"raw"
        alias, version = _selectors(request)
        if raw:
            body = request.body
            content_type = request.headers.get(b"content-type", b"").decode("latin-1")
        else:
            body, alias, version = _open_envelope(request.body, alias, version)
            content_type = "application/json"
        if len(body) > REQUEST_MAX_BYTES:
            raise PayloadTooLarge(f"{len(body)} bytes; a call may carry 6 MiB")

        target, alias = function.resolve(alias, version)
        link = self._upstream.link()
        draw = None
        if function.splits and (split := function.splits.get(alias)) is not None:
            draw = split.draw(request, grant.user, connection, link.name)
            target = draw.target
        trace_id, trace = _trace(request.headers.get(b"traceparent"))
        call = Call(
            connection, link, self._stats, target, grant, draw,
            call_id, alias, trace_id, raw, len(body), request.started,
        )  # fmt: skip
        header = encode_json(
            (
                call_id, target.id, int(target.timeout_seconds * 1000), trace,
                content_type, alias or target.label,
            )
        )  # fmt: skip
        if grant.token_sha256:
            self._stats.token_used(grant.token_sha256)
        if draw is not None and not wants_stream and draw.wants_mirror:
            draw.mirror = self._mirror(draw, link, trace, content_type, alias, body)
        # The call is claimed before anything is sent. From the choice of the version to here
        # one callback runs, so no change of the table comes between choice and claim: a
        # version that no route names and that counts nothing in flight gets no call any more.
        target.stats.in_flight += 1
        call.stream = link.invoke(call, header, body, wants_stream)
        return call

    def _mirror(
        self, draw: Draw, link: RunnerLink, trace: str, content_type: str, alias: str, body: bytes
    ) -> Mirror | None:
        """How to repeat this call on the candidate; None for a body too large to keep."""
        if len(body) > MIRROR_MAX_BYTES:
            return None
        candidate = draw.split.candidate
        timeout = candidate.timeout_seconds
        header = (candidate.id, int(timeout * 1000), trace, content_type, alias)
        return Mirror(
            draw.split.tally, link,
            header=header, body=body, seconds=timeout + SAFETY_SECONDS,
        )  # fmt: skip


class _MethodNotAllowed(BadRequest):
    slug, title, status = "method-not-allowed", "Method not allowed", 405


def _refuse_action(action: bytes) -> None:
    if action == b"invoke-async":
        raise Unimplemented(
            "asynchronous invocation is not available in this version; use /invoke or "
            "/invoke-stream"
        )
    raise NotFound("this address takes /invoke, /invoke-stream and /invoke-async")


def _selectors(request: Request) -> tuple[str | None, str | None]:
    """Alias and version from headers, else from the query string."""
    headers = request.headers
    alias, version = headers.get(b"x-hotswap-alias"), headers.get(b"x-hotswap-version")
    if request.query:
        for pair in request.query.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name == b"alias" and alias is None:
                alias = value.replace(b"%24", b"$")
            elif name == b"version" and version is None:
                version = value.replace(b"%24", b"$")
    return (
        alias.decode("latin-1") if alias else None,
        version.decode("latin-1") if version else None,
    )


def _open_envelope(
    body: bytes, alias: str | None, version: str | None
) -> tuple[bytes, str | None, str | None]:
    """Payload, alias and version of an enveloped request; its own words win."""
    if not body:
        return b"", alias, version
    try:
        document = _decode_envelope(body)
        payload = bytes(document.payload)
        if payload[:1] == b'"':
            payload = _decode_text(payload).encode()
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"the body must be a JSON object with payload, alias, invocationType: {exc}; to send "
            "any body as it is, add the header X-HotSwap-Mode: raw"
        ) from None
    if document.invocation_type == "Event":
        _refuse_action(b"invoke-async")
    if document.invocation_type != "RequestResponse":
        raise InvalidInput("invocationType must be RequestResponse or Event")
    if document.version is not None:
        version = str(document.version)
    return payload, document.alias or alias, version


def _trace(parent: bytes | None) -> tuple[str, str]:
    """Trace id and the traceparent to hand on, with a span of our own."""
    if parent is not None and len(parent) == 55 and parent[2] == 45 and parent[35] == 45:
        trace_id, flags = parent[3:35].decode("latin-1"), parent[53:55].decode("latin-1")
    else:
        trace_id, flags = f"{getrandbits(128):032x}", "01"
    return trace_id, f"00-{trace_id}-{getrandbits(64):016x}-{flags}"


class Call:
    """One call in flight. Ends in exactly one counted outcome, whatever happens."""

    __slots__ = (
        "_alias", "_connection", "_draw", "_grant", "_has_begun", "_is_over", "_link",
        "_outcome", "_raw", "_request_bytes", "_response_bytes", "_rollout", "_started",
        "_stats", "_target", "_trace_id", "_uncredited", "deadline", "request_id", "stream",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        link: RunnerLink,
        stats: Stats,
        target: Target,
        grant: Grant,
        draw: Draw | None,
        call_id: str,
        alias: str,
        trace_id: str,
        raw: bool,
        request_bytes: int,
        started: float,
    ) -> None:
        self._connection = connection
        self._link = link
        self._stats = stats
        self._target = target
        self._grant = grant
        self._draw = draw
        self._rollout = "" if draw is None else draw.header
        self.request_id = call_id
        self._alias = alias
        self._trace_id = trace_id
        self._raw = raw
        self._request_bytes = request_bytes
        self._response_bytes = 0
        self._started = started
        self._outcome = Outcome()
        self._has_begun = False
        self._is_over = False
        self._uncredited = 0
        self.deadline = started + target.timeout_seconds + SAFETY_SECONDS
        self.stream = 0

    # From the runner

    def on_frame(self, kind: int, header: bytes, body: bytes) -> bool:
        if kind == _REPLY:
            self._reply(decode_json(header), body)
            return True
        if kind == _CHUNK:
            self._chunk(body)
            return False
        if kind == _BEGIN:
            self._begin(decode_json(header))
            return False
        if kind == _END:
            self._end(decode_json(header))
        else:
            self._fail(decode_json(header), body)
        return True

    def _reply(self, header: list[Any], body: bytes) -> None:
        outcome = self._outcome
        (
            outcome.status, outcome.type, outcome.headers, cold, outcome.queue_us, outcome.init_us,
            outcome.duration_us, outcome.memory_kib, outcome.instance, outcome.log_stream,
        ) = header  # fmt: skip
        outcome.cold = bool(cold)
        self._response_bytes = len(body)
        self._over("ok", outcome.status)
        identity = identity_headers(self.request_id, self._target.label, self._rollout)
        if self._raw:
            headers = identity + detail_headers(outcome) + raw_headers(outcome)
            self._connection.respond(outcome.status, headers, body)
        else:
            headers, document = envelope(
                outcome, body, self.request_id, self._target.label, self._alias
            )
            self._connection.respond(200, identity + headers, document)
        if self._draw is not None and self._draw.mirror is not None:
            self._draw.mirror.send(outcome.status, body)

    def _begin(self, header: list[Any]) -> None:
        outcome = self._outcome
        (
            outcome.status, outcome.type, outcome.headers, cold, outcome.queue_us, outcome.init_us,
            outcome.instance, outcome.log_stream,
        ) = header  # fmt: skip
        outcome.cold = bool(cold)
        self._has_begun = True
        # A stream may run for the function's whole time; what counts now is progress.
        identity = identity_headers(self.request_id, self._target.label, self._rollout)
        self._connection.begin(outcome.status, identity + raw_headers(outcome))

    def _chunk(self, body: bytes) -> None:
        self._response_bytes += len(body)
        self._uncredited += len(body)
        self._connection.chunk(body)
        if not self._connection.is_write_paused and self._uncredited >= CREDIT_STEP:
            self._give_credit()

    def _give_credit(self) -> None:
        size, self._uncredited = self._uncredited, 0
        self._link.credit(self.stream, size)

    def _end(self, header: list[Any]) -> None:
        self._outcome.duration_us, self._outcome.memory_kib = header[:2]
        self._over("ok", self._outcome.status)
        self._connection.end()

    def _fail(self, header: list[Any], body: bytes) -> None:
        outcome = self._outcome
        (
            slug, cold, outcome.queue_us, outcome.init_us, outcome.duration_us, outcome.memory_kib,
            outcome.instance, outcome.log_stream, retry_after_ms,
        ) = header  # fmt: skip
        outcome.cold = bool(cold)
        details = _decode_error(body)
        kind = _ERRORS.get(slug, UpstreamFailed)
        message = str(details.get("errorMessage") or kind.title)
        extras = details if issubclass(kind, FunctionFailed) else {}
        if retry_after_ms:
            extras = {**extras, "retryAfter": -(-retry_after_ms // 1000)}
        self._answer_problem(kind(message, **extras), details)

    def _answer_problem(self, error: HotSwapError, details: dict[str, Any] | None = None) -> None:
        self._over(error.slug, error.status, details)
        if self._has_begun:
            self._connection.abort()  # an answer that was begun cannot become a problem
            return
        status, headers, body = problem(
            error,
            self.request_id,
            function=self._target.function,
            executedVersion=self._target.label,
            logStreamName=self._outcome.log_stream,
        )
        identity = identity_headers(self.request_id, self._target.label, self._rollout)
        self._connection.respond(status, identity + headers, body)

    def on_link_lost(self) -> None:
        self._target.stats.dropped += 1
        self._answer_problem(
            UpstreamFailed(
                "the runner was lost while the call ran; it may or may not have finished"
            )
        )

    def on_deadline(self) -> None:
        self._target.stats.dropped += 1
        self._answer_problem(UpstreamFailed("the runner did not answer in time"))

    # From the caller

    def disconnected(self) -> None:
        if not self._is_over:
            self._over("cancelled", 499)
            self._link.cancel(self.stream)

    def drained(self) -> None:
        if self._uncredited:
            self._give_credit()

    # The books

    def _over(self, outcome: str, status: int, error: dict[str, Any] | None = None) -> None:
        if self._is_over:
            return
        self._is_over = True
        facts = self._outcome
        total_us = int((clock.monotonic() - self._started) * 1e6)
        version = self._target.stats
        version.in_flight -= 1
        version.count(
            outcome, total_us, facts.cold, facts.init_us, facts.billed_ms, facts.memory_kib
        )
        if self._draw is not None:
            self._draw.ended(
                runner=self._link.name, outcome=outcome, status=status, cold=facts.cold,
                total_us=total_us,
            )  # fmt: skip
        if self._stats.has_room(outcome):
            self._stats.record(
                Invoked(
                    self.request_id, self._target.id, self._alias, self._grant.user,
                    clock.epoch_ms(), outcome, status, facts.cold, total_us, facts.queue_us,
                    facts.init_us, facts.duration_us, facts.billed_ms, facts.memory_kib,
                    self._request_bytes, self._response_bytes, facts.instance, self._trace_id,
                    _cut(error),
                )
            )  # fmt: skip


def _cut(error: dict[str, Any] | None) -> dict[str, object] | None:
    """The error for the record, at most about 8 KiB."""
    if not error:
        return None
    frames = [str(line)[:500] for line in error.get("stackTrace") or []][-12:]
    return {
        "errorType": str(error.get("errorType", ""))[:200],
        "errorMessage": str(error.get("errorMessage", ""))[: ERROR_KEPT_BYTES // 4],
        "stackTrace": frames,
    }
