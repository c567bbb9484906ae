"""Forget the counts of finished deployments; their receipts and histories stay."""

from datetime import datetime

from deployments.models import Evidence, FailureSeen, GatewayState, SourceReading


def evidence_delete(*, finished_before: datetime) -> int:
    """Delete what was counted for attempts that ended before. Returns how many rows."""
    return sum(
        rows.objects.filter(attempt__finished_at__lt=finished_before).delete()[0]
        for rows in (Evidence, FailureSeen, GatewayState, SourceReading)
    )
