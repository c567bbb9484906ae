"""What callers get: response headers, the JSON envelope, problem documents."""

import base64
import re
from typing import Any

import msgspec

from hotswap.core.errors import HotSwapError
from hotswap.core.limits import MIB

_encode = msgspec.json.Encoder().encode

BILLING_STEP_MS = 100  # the specification bills 145 ms as 200

# What a function may say about its answer in raw mode. Anything else could act on the
# portal's origin: cookies, policies, redirects of other pages.
_FUNCTION_HEADERS = frozenset(
    {
        "cache-control", "content-disposition", "content-encoding", "content-language", "etag",
        "expires", "last-modified", "location", "retry-after", "vary",
    }
)  # fmt: skip
_SANDBOX = (
    b"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox; default-src 'none'\r\n"
)
_JSON = b"Content-Type: application/json\r\n"
_PROBLEM = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"


class Outcome:
    """How one call ended, as told by the runner."""

    __slots__ = (
        "cold", "duration_us", "headers", "init_us", "instance", "log_stream", "memory_kib",
        "queue_us", "status", "type",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.type: str | None = None
        self.headers: dict[str, str] | None = None
        self.cold = False
        self.queue_us = 0
        self.init_us = 0
        self.duration_us = 0
        self.memory_kib = 0
        self.instance = ""
        self.log_stream = ""

    @property
    def billed_ms(self) -> int:
        return -(-self.duration_us // (1000 * BILLING_STEP_MS)) * BILLING_STEP_MS

    @property
    def memory_mib(self) -> int:
        return -(-self.memory_kib * 1024 // MIB)


def identity_headers(request_id: str, version: str, rollout: str = "") -> bytes:
    """Headers that every answer about a call carries. `rollout`: a line of its own, or nothing."""
    return (
        f"X-HotSwap-Request-Id: {request_id}\r\nX-HotSwap-Executed-Version: {version}\r\n{rollout}"
    ).encode()


def detail_headers(outcome: Outcome) -> bytes:
    """The envelope's facts as headers, for raw and streamed answers."""
    return (
        f"X-HotSwap-Start: {'cold' if outcome.cold else 'warm'}\r\n"
        f"X-HotSwap-Queue-Us: {outcome.queue_us}\r\n"
        f"X-HotSwap-Init-Us: {outcome.init_us}\r\n"
        f"X-HotSwap-Duration-Us: {outcome.duration_us}\r\n"
        f"X-HotSwap-Billed-Ms: {outcome.billed_ms}\r\n"
        f"X-HotSwap-Memory-Mib: {outcome.memory_mib}\r\n"
        f"X-HotSwap-Log-Stream: {outcome.log_stream}\r\n"
    ).encode()


def raw_headers(outcome: Outcome) -> bytes:
    """Headers of the function's own answer: its content type and an allow-list."""
    lines = [_SANDBOX]
    if outcome.type and _is_plain(outcome.type):
        lines.append(f"Content-Type: {outcome.type}\r\n".encode("latin-1"))
    for name, value in (outcome.headers or {}).items():
        allowed = name in _FUNCTION_HEADERS or (
            name.startswith("x-") and not name.startswith("x-hotswap-")
        )
        if allowed and name.isascii() and _is_plain(name) and _is_plain(value):
            lines.append(f"{name}: {value}\r\n".encode("latin-1"))
    return b"".join(lines)


_PLAIN = re.compile(r"(?!:)[ -~\x80-\xff]*\Z").match


def _is_plain(text: object) -> bool:
    """Whether it can stand in a header line: one line, latin-1, no control characters."""
    return isinstance(text, str) and _PLAIN(text) is not None


def envelope(
    outcome: Outcome, body: bytes, request_id: str, version: str, alias: str
) -> tuple[bytes, bytes]:
    """Headers and body of the specification's reply (FR-FN-003)."""
    try:
        text, is_base64 = body.decode(), False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(body).decode(), True
    document = {
        "statusCode": outcome.status,
        "body": text,
        "isBase64Encoded": is_base64,
        "contentType": outcome.type,
        "executionTime": round(outcome.duration_us / 1000, 3),
        "billedDuration": outcome.billed_ms,
        "memoryUsed": outcome.memory_mib,
        "logStreamName": outcome.log_stream,
        "executedVersion": version,
        "alias": alias or None,
        "requestId": request_id,
        "coldStart": outcome.cold,
        "durations": {
            "queueMs": outcome.queue_us / 1000,
            "initMs": outcome.init_us / 1000,
            "runMs": outcome.duration_us / 1000,
        },
        "instance": outcome.instance,
    }
    if outcome.headers:
        document["headers"] = outcome.headers
    return _JSON, _encode(document)


def problem(error: HotSwapError, request_id: str, **extras: Any) -> tuple[int, bytes, bytes]:
    """Status, headers and body of an RFC 9457 answer."""
    document = {**error.problem(), "instance": request_id, **extras}
    headers = _PROBLEM
    retry_after = error.extras.get("retryAfter")
    if retry_after is None and error.retryable:
        retry_after = 1
    if retry_after is not None:
        headers += f"Retry-After: {retry_after}\r\n".encode()
    if error.status == 401:
        headers += b'WWW-Authenticate: Bearer realm="hotswap"\r\n'
    return error.status, headers, _encode(document)
