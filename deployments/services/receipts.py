"""What became of every call, and how long everything took: written once, at the end."""

from collections import defaultdict
from typing import Any

from django.db.models import Sum

from deployments.models import Attempt, Event, Evidence, GatewayState
from deployments.states import TERMINAL, Phase
from deployments.types import ALL

_WAITING = frozenset({Phase.QUEUED, Phase.AWAITING_APPROVAL, Phase.HELD})


def receipt_of(*, attempt: Attempt, counts_dropped: bool) -> dict[str, Any]:
    """The receipt of an attempt that has just ended.

    Args:
        counts_dropped: calls that still ran at the deadline are lost.

    Returns:
        JSON: `versions` by number with sent, answered, bad, dropped; `seconds` total, active
        and waiting; `epochs`; `route` with the version that has everything; `lastEvent`.
    """
    deployment = attempt.deployment
    numbers = {deployment.to_version_id: deployment.to_number}
    if deployment.from_version_id is not None and deployment.from_number is not None:
        numbers[deployment.from_version_id] = deployment.from_number
    dropped = _dropped(attempt, counts_dropped=counts_dropped)
    counts = {
        version: (calls, bad)
        for version, calls, bad in Evidence.objects.filter(attempt=attempt)
        .values_list("version_id")
        .annotate(Sum("calls"), Sum("bad"))
    }
    last = Event.objects.filter(attempt=attempt).order_by("-seq").first()
    is_promoted = attempt.phase == Phase.SUCCEEDED
    final = deployment.to_number if is_promoted else deployment.from_number
    return {
        "versions": {
            f"v{number}": _line(*counts.get(pk, (0, 0)), dropped.get(pk, 0))
            for pk, number in sorted(numbers.items(), key=lambda item: item[1])
        },
        "seconds": _durations(attempt),
        "epochs": attempt.epoch,
        "route": None if final is None else {"version": f"v{final}", "weight": ALL},
        "lastEvent": last.sha256 if last else "",
    }


def _line(answered: int, bad: int, dropped: int) -> dict[str, int]:
    return {"sent": answered + dropped, "answered": answered, "bad": bad, "dropped": dropped}


def _dropped(attempt: Attempt, *, counts_dropped: bool) -> dict[int, int]:
    """Calls without an answer: lost with their runner, and those that run past the deadline."""
    found: dict[int, int] = defaultdict(int)
    deployment = attempt.deployment
    is_promoted = attempt.phase == Phase.SUCCEEDED
    leaving = deployment.from_version_id if is_promoted else deployment.to_version_id
    for state in GatewayState.objects.filter(attempt=attempt):
        for version, calls in state.dropped.items():
            found[int(version)] += calls
        if counts_dropped and leaving is not None:
            found[leaving] += int(state.in_flight.get(str(leaving), 0))
    return found


def _durations(attempt: Attempt) -> dict[str, float]:
    """Seconds from the request to the end, by what the attempt did."""
    spent: dict[bool, float] = {True: 0.0, False: 0.0}
    phase, since = Phase.QUEUED, attempt.created_at
    moves = Event.objects.filter(attempt=attempt, kind="phase").order_by("seq")
    for event in moves:
        spent[phase in _WAITING] += (event.at - since).total_seconds()
        phase, since = Phase(event.to_phase), event.at
        if phase in TERMINAL:
            break
    return {
        "total": round(spent[True] + spent[False], 3),
        "active": round(spent[False], 3),
        "waiting": round(spent[True], 3),
    }
