"""`/internal/v1/`: where gateways and runners report.

200 means applied, now or earlier. A report that can never be applied is refused with 4xx,
so that its sender drops it and goes on; anything temporary is a 5xx and is repeated.
"""

from typing import TypeVar

import msgspec
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_POST

from hotswap.api.internal import empty, internal_only
from hotswap.core import clock
from hotswap.core.errors import BadRequest, PayloadTooLarge
from hotswap.core.limits import MIB
from hotswap.wire.reports import GatewayReport, Heartbeat, LogReport
from runners import live
from runners.services import intake, nodes
from runners.services.intake import Applied

REPORT_MAX_BYTES = 64 * MIB  # above 2,000 lines of 16 KiB with their escapes

T = TypeVar("T")

_calls = msgspec.json.Decoder(GatewayReport)
_logs = msgspec.json.Decoder(LogReport)
_heartbeat = msgspec.json.Decoder(Heartbeat)


@internal_only
@require_POST
async def reports(request: HttpRequest) -> HttpResponse:
    """Counts and records of a gateway."""
    return _answer(await sync_to_async(_apply_calls)(_body(request)))


@internal_only
@require_POST
async def logs(request: HttpRequest) -> HttpResponse:
    """Log lines of a runner."""
    applied = await sync_to_async(_apply_logs)(_body(request))
    await live.announce(applied.last_seqs)
    return _answer(applied)


@internal_only
@require_POST
async def heartbeat(request: HttpRequest) -> HttpResponse:
    """A runner's sign of life."""
    await sync_to_async(_apply_heartbeat)(_body(request))
    return empty()


# Decoding a large report takes a while: it happens in the request's thread, not in the loop.


def _apply_calls(body: bytes) -> Applied:
    return intake.calls_apply(report=_decoded(_calls, body), now=clock.utc_now())


def _apply_logs(body: bytes) -> Applied:
    return intake.logs_apply(report=_decoded(_logs, body), now=clock.utc_now())


def _apply_heartbeat(body: bytes) -> None:
    nodes.node_heartbeat(heartbeat=_decoded(_heartbeat, body), now=clock.utc_now())


def _body(request: HttpRequest) -> bytes:
    if len(request.body) > REPORT_MAX_BYTES:
        raise PayloadTooLarge(f"A report may have at most {REPORT_MAX_BYTES // MIB} MiB.")
    return request.body


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadRequest(f"The report is not what this release understands: {exc}.") from None


def _answer(applied: Applied) -> HttpResponse:
    answer = {"repeated": applied.repeated, "unknown": applied.unknown}
    return HttpResponse(msgspec.json.encode(answer), content_type="application/json")


urlpatterns = [
    path("reports", reports, name="internal-reports"),
    path("logs", logs, name="internal-logs"),
    path("heartbeat", heartbeat, name="internal-heartbeat"),
]
