"""`POST /internal/v1/evidence`: what gateways saw of rollouts; the answer carries the leases."""

import msgspec
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_POST

from deployments.reconcilers import attempt
from deployments.services.evidence import evidence_apply
from hotswap.api.internal import internal_only
from hotswap.core import clock
from hotswap.core.errors import BadRequest, PayloadTooLarge
from hotswap.core.limits import MIB
from hotswap.wire.rollouts import EvidenceReport

REPORT_MAX_BYTES = 8 * MIB
LATE_SECONDS = 2.0
"""An attempt that is due for so long has no worker: who reports evidence looks at it instead."""

_report = msgspec.json.Decoder(EvidenceReport)


@internal_only
@require_POST
async def evidence(request: HttpRequest) -> HttpResponse:
    """Applied now or earlier: 200 with the leases. 4xx is never worth repeating."""
    body = request.body
    if len(body) > REPORT_MAX_BYTES:
        raise PayloadTooLarge(f"A report may have at most {REPORT_MAX_BYTES // MIB} MiB.")
    answer = await sync_to_async(_apply)(body)
    return HttpResponse(answer, content_type="application/json")


def _apply(body: bytes) -> bytes:
    try:
        report = _report.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadRequest(f"The report is not what this release understands: {exc}.") from None
    answer = evidence_apply(report=report, now=clock.utc_now())
    attempt.tick(late_seconds=LATE_SECONDS)
    return msgspec.json.encode(answer)


urlpatterns = [path("evidence", evidence, name="internal-evidence")]
