"""What the page of a deployment shows, from the records that its view has fetched."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.urls import reverse

from deployments.analysis.wording import count, percent
from deployments.selectors import Line, Point
from deployments.states import TERMINAL, Command, Held, Phase
from deployments.strategies.base import plan_load
from deployments.types import ALL, Plan, Strategy
from hotswap import config
from hotswap.dashboard import evidence_texts, rollouts
from hotswap.wire.rollouts import PREVIEW_HEADER, WINDOW_SECONDS

GATEWAY_FRESH: Final = timedelta(seconds=5)
CHARTS: Final = (
    ("errors", "Bad calls"),
    ("latency", "P99 time, P50 dashed"),
    ("calls", "Calls per second"),
)
_ROUTED: Final = frozenset(
    {
        Phase.PREPARING,
        Phase.SHIFTING,
        Phase.OBSERVING,
        Phase.HELD,
        Phase.PROMOTING,
        Phase.SETTLING,
        Phase.ROLLING_BACK,
        Phase.ROLLBACK_STUCK,
    }
)
"""Phases in which gateways hold the split, and so open the candidate to the preview key."""

NEEDS_PERSON: Final = frozenset({Phase.AWAITING_APPROVAL, Phase.ROLLBACK_STUCK})
HELD_FOR_PERSON: Final = frozenset(Held) - {Held.FREEZE}


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment in a list, or in the strip on other pages."""

    url: str
    function: str
    alias: str
    names: Mapping[str, str]
    strategy: str
    message: str
    label: str
    tone: str
    reason: str
    share: int
    is_running: bool
    needs_person: bool
    by: str
    at: datetime


def row_of(deployment: Any, attempt: Any, *, function: str) -> Row:
    """One deployment with its newest attempt, and the name of its function."""
    phase = Phase(attempt.phase)
    is_over = phase in TERMINAL
    needs_person = phase in NEEDS_PERSON or attempt.held_reason in HELD_FOR_PERSON
    return Row(
        url=reverse("deployment", args=[deployment.id]),
        function=function,
        alias=deployment.alias,
        names=rollouts.versions_of(deployment),
        strategy=rollouts.STRATEGY_NAMES[Strategy(deployment.strategy)],
        message=deployment.message,
        label=rollouts.label_of(attempt),
        tone=rollouts.tone_of(attempt),
        reason=rollouts.reason_of(deployment, attempt),
        share=rollouts.share_of(attempt),
        is_running=not is_over,
        needs_person=needs_person,
        by=deployment.created_by,
        at=(attempt.finished_at if is_over else attempt.created_at) or attempt.created_at,
    )


def verbs(
    deployment: Any, allowed: Sequence[Command], *, actor: str
) -> tuple[list[dict[str, str]], str]:
    """The buttons, and why the actor does not get some of them."""
    own = {Command.APPROVE, Command.REJECT} & set(allowed)
    if own and deployment.created_by == actor:
        rest = [command for command in allowed if command not in own]
        return rollouts.buttons(rest, deployment), "You made it, so somebody else must approve it."
    return rollouts.buttons(allowed, deployment), ""


def fleet(
    deployment: Any, attempt: Any, gateways: Iterable[Any], *, now: datetime
) -> dict[str, Any]:
    """Which gateways have the route, and what runs on them; after the end none has one."""
    old, new = str(deployment.from_version_id), str(deployment.to_version_id)
    rows = [
        {
            "name": state.node,
            "epoch": state.epoch,
            "is_there": state.epoch == attempt.epoch,
            "lost_lease": not state.has_lease and 0 < attempt.weight < ALL,
            "is_silent": now - state.seen_at > GATEWAY_FRESH,
            "seen_at": state.seen_at,
            "old": state.in_flight.get(old, 0),
            "new": state.in_flight.get(new, 0),
        }
        for state in gateways
        if Phase(attempt.phase) not in TERMINAL
    ]
    return {
        "gateways": rows,
        "gateways_there": sum(row["is_there"] for row in rows),
    }


def mirror(gateways: Iterable[Any]) -> dict[str, int]:
    """Added-up counts of mirrored and previewed calls."""
    states = list(gateways)
    return {
        "total": sum(state.mirrored for state in states),
        "same": sum(state.mirror_same for state in states),
        "different": sum(state.mirror_different for state in states),
        "failed": sum(state.mirror_failed for state in states),
        "previewed": sum(state.previewed for state in states),
    }


def runners(attempt: Any, regions: Mapping[str, str]) -> dict[str, Any]:
    """Which version each runner serves, where runners differ.

    Args:
        regions: of the live runners by name.
    """
    weights = attempt.runner_weights
    names = sorted({*regions, *weights}) if weights else []
    rows = [
        {
            "name": name,
            "region": regions.get(name, ""),
            "share": weights.get(name, attempt.weight),
        }
        for name in names
    ]
    return {
        "runners": rows,
        "runners_there": sum(row["share"] == ALL for row in rows),
        "has_regions": any(row["region"] for row in rows),
    }


def preview(deployment: Any, attempt: Any) -> dict[str, str]:
    """The key that opens the candidate, and a call with it; empty when none would work."""
    if Phase(attempt.phase) not in _ROUTED or not attempt.preview_key:
        return {}
    url = f"{config.current().gateway.url}/api/v1/functions/{deployment.function.name}/invoke"
    curl = (
        f"curl -X POST {url} \\\n"
        f'  -H "Authorization: Bearer $HS_TOKEN" \\\n'
        f'  -H "{PREVIEW_HEADER}: {attempt.preview_key}" \\\n'
        f"""  -d '{{"alias": "{deployment.alias}", "payload": {{}}}}'"""
    )
    return {"key": attempt.preview_key, "curl": curl}


_EVENT_TITLES: Final = {
    "created": "Created",
    "approval.approve": "Approved",
    "approval.reject": "Rejected",
    "extended": "The step gets its time again",
    "held": "Held for another reason",
    "hook.answered": "A hook answered",
    "notification.sent": "People were told",
}


def events(found: Iterable[Any]) -> list[dict[str, Any]]:
    """The history, newest first."""
    return [_event(event) for event in sorted(found, key=lambda each: -each.seq)]


def _event(event: Any) -> dict[str, Any]:
    is_move = event.kind == "phase" and bool(event.to_phase) and event.to_phase != event.from_phase
    title = _EVENT_TITLES.get(event.kind, event.kind.replace(".", ": ").replace("-", " "))
    tone = ""
    moved = ""
    if is_move:
        phase = Phase(event.to_phase)
        title, tone = rollouts.PHASE_NAMES[phase], rollouts.TONES.get(phase, "accent")
        if event.from_phase:
            moved = f"from {rollouts.PHASE_NAMES[Phase(event.from_phase)].lower()}"
    return {
        "title": title[:1].upper() + title[1:],
        "moved": moved,
        "tone": tone,
        "reason": event.reason,
        "actor": event.actor,
        "at": event.at,
    }


def chart_data(
    deployment: Any, plan: Plan, lines: Sequence[Line], history: Iterable[Any]
) -> dict[str, Any]:
    """Columns for the page's charts, with limits and the moments at which calls moved."""
    names = rollouts.versions_of(deployment)
    limits = plan.limits
    errors = (
        [{"at": limits.error_rate, "text": f"limit {100 * limits.error_rate:g} %"}]
        if limits.error_rate is not None
        else []
    )
    latency = (
        [{"at": limits.slow_ms, "text": f"P99 limit {limits.slow_ms} ms"}] if limits.slow_ms else []
    )
    return {
        "old": names["old"],
        "fresh": names["new"],
        "limits": {"errors": errors, "latency": latency},
        "marks": marks(history),
        **columns(lines),
    }


def context_of(
    *, deployment: Any, attempt: Any, plan: Plan, approvals_missing: int, now: datetime
) -> dict[str, Any]:
    """What head, track and facts need."""
    share = rollouts.share_of(attempt)
    names = rollouts.versions_of(deployment)
    return {
        "section": "deployments",
        "deployment": deployment,
        "attempt": attempt,
        "plan": plan,
        "names": names,
        "function_name": deployment.function.name,
        "strategy": rollouts.STRATEGY_NAMES[Strategy(deployment.strategy)],
        "situation": rollouts.situation(
            deployment=deployment,
            attempt=attempt,
            plan=plan,
            approvals_missing=approvals_missing,
            now=now,
        ),
        "stops": rollouts.track(plan, attempt),
        "share": share,
        "old_share": ALL - share,
        "verdict": evidence_texts.verdict_of(attempt.verdict, plan.limits, names),
        "limits": evidence_texts.limits_of(plan.limits),
        "plan_texts": evidence_texts.agreed(plan),
        "charts": CHARTS,
    }


def plan_of(deployment: Any) -> Plan:
    """The plan as it was compiled."""
    return plan_load(deployment.plan)


def columns(lines: Sequence[Line]) -> dict[str, list[Any]]:
    """Columns of all charts: a row for each window in which either version was called."""
    times = sorted({point.at for line in lines for point in line.points})
    by_time = [{point.at: point for point in line.points} for line in _both(lines)]

    def column(read: Callable[[Point], float | None]) -> list[list[float | None]]:
        return [[read(points[at]) if at in points else None for at in times] for points in by_time]

    latency = zip(column(lambda p: p.p99_ms), column(lambda p: p.p50_ms), strict=True)
    return {
        "times": [at.timestamp() for at in times],
        "errors": column(lambda p: p.error_rate),
        "latency": [each for pair in latency for each in pair],
        "calls": column(lambda p: p.calls / WINDOW_SECONDS),
    }


def _both(lines: Sequence[Line]) -> tuple[Line, Line]:
    """The stable version's line and the candidate's; empty ones where there is none."""
    found = {line.is_candidate: line for line in lines}
    nothing = Point(datetime.fromtimestamp(0, UTC), 0, 0, 0, None, None, None)
    empty = {is_new: Line(0, is_new, (), nothing) for is_new in (False, True)}
    return found.get(False, empty[False]), found.get(True, empty[True])


def marks(found: Iterable[Any]) -> list[dict[str, Any]]:
    """Moments at which calls moved: epoch seconds and the candidate's share from then on."""
    said: list[dict[str, Any]] = []
    weight = 0
    for event in found:
        now = event.detail.get("weight", weight)
        if now != weight and not event.detail.get("runnerWeights"):
            said.append({"at": event.at.timestamp(), "text": f"{now / 100:g} %"})
            weight = now
    return said


def receipt(deployment: Any, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """What became of every call; None before the end."""
    if not document:
        return None
    names = rollouts.versions_of(deployment)
    rows = [
        {"version": name, "tone": "new" if name == names["new"] else "old", **line}
        for name, line in document["versions"].items()
    ]
    seconds = document["seconds"]
    times = [f"took {rollouts.duration(seconds['total'])}"]
    if seconds["waiting"] >= 1:
        times.append(f"waited {rollouts.duration(seconds['waiting'])} of it")
    if document["route"]:
        times.append(f"{document['route']['version']} has every call")
    return {"rows": rows, "dropped": sum(row["dropped"] for row in rows), "times": times}


_SOURCE_TONES: Final = {"ok": "ok", "breached": "bad", "stale": "warn", "signal": "warn"}


def sources(found: Iterable[Any]) -> list[dict[str, Any]]:
    """External metrics with their newest readings."""
    return [
        {
            "name": reading.source.name,
            "value": "\N{EN DASH}" if reading.value is None else f"{reading.value:g}",
            "state": reading.state,
            "tone": _SOURCE_TONES.get(reading.state, ""),
            "sentence": reading.sentence,
        }
        for reading in found
    ]


def comparison(lines: Sequence[Line], report: Any) -> dict[str, Any]:
    """Both versions side by side: what gateways saw, and what programs reported."""
    old, new = (line.total for line in _both(lines))
    rows = [
        _compared("Calls", count(old.calls), count(new.calls)),
        _compared("Bad calls", _rate(old.error_rate), _rate(new.error_rate)),
        _compared("P50 time", _time(old.p50_ms), _time(new.p50_ms)),
        _compared("P99 time", _time(old.p99_ms), _time(new.p99_ms)),
        *(_business(each.metric, each.comparison) for each in report.metrics),
    ]
    split = report.split
    return {
        "rows": rows,
        "has_business": bool(report.metrics),
        "skew": split.sentence if split and split.is_mismatch else "",
    }


def _compared(name: str, old: str, new: str) -> dict[str, str]:
    return {"name": name, "old": old, "new": new, "says": "", "tone": "", "difference": ""}


def _business(metric: str, found: Any) -> dict[str, str]:
    says, tone = "too few units", ""
    if found.interval is not None:
        says = "no difference shown"
    if found.is_significant:
        says, tone = ("higher", "info") if found.difference > 0 else ("lower", "info")
    return {
        "name": metric,
        "old": f"{found.mean_a:.4g}",
        "new": f"{found.mean_b:.4g}",
        "difference": found.sentence.replace("B ", "new ").replace(" A", " old"),
        "says": says,
        "tone": tone,
    }


def _rate(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else percent(value)


def _time(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.3g} ms"
