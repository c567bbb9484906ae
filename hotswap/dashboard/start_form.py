"""The form that starts a deployment: what it asks, and what would happen then."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from django.urls import reverse

from deployments import forecast
from deployments.analysis import power
from deployments.forecast import Forecast
from deployments.services.deployments import Preview
from deployments.strategies.settings import percent_text
from deployments.types import ALL, Plan
from hotswap.core.errors import HotSwapError
from hotswap.dashboard import rollouts
from hotswap.dashboard.strategy_forms import (
    CHOICES,
    LIMITS,
    MIRROR,
    UNIT,
    Choice,
    Field,
    field_of,
)

TIMES_WORSE: Final = (3.0, 5.0)
PROBABILITY: Final = 0.95
LONG_SECONDS: Final = 3_600.0
_PICTURE_LEAST: Final = 0.04
"""Part of the picture that the shortest step gets, so that it can be seen."""


def choices(
    given: Mapping[str, str], errors: Mapping[str, str], chosen: Choice
) -> list[dict[str, Any]]:
    """Strategies with their fields; those of the chosen one as they were filled in."""
    return [
        {
            "strategy": str(choice.strategy),
            "title": choice.title,
            "sentence": choice.sentence,
            "picture": choice.picture,
            "prefix": f"{choice.strategy}-",
            "fields": [
                _filled(field, given if choice is chosen else {}, errors) for field in choice.fields
            ],
        }
        for choice in CHOICES
    ]


def common_fields(
    given: Mapping[str, str], errors: Mapping[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Fields of every strategy: those of the limits, and those that few people need."""
    return {
        "limits": [_filled(field, given, errors) for field in LIMITS],
        "more": [_filled(field, given, errors) for field in (UNIT, MIRROR)],
    }


def _filled(field: Field, given: Mapping[str, str], errors: Mapping[str, str]) -> dict[str, Any]:
    return asdict(field) | {
        "value": given.get(field.key, field.value),
        "unit": given.get(f"{field.key}.unit", field.unit),
        "units": field.units,
        "error": errors.get(field.key, ""),
    }


def errors_of(error: HotSwapError) -> dict[str, str]:
    """What was refused, by the form's field; "" is what belongs to none."""
    listed = error.extras.get("errors")
    if not isinstance(listed, list):
        return {"": error.detail}
    return {field_of(str(each["field"])): str(each["message"]) for each in reversed(listed)}


_OUTCOME_TONES: Final = {"start": "ok", "refuse": "bad"}


def preview(found: Preview, seen: Forecast) -> dict[str, Any]:
    """The steps with their times, and what today's traffic can show in them."""
    plan, names = found.plan, rollouts.versions_of(found)
    steps = [_step(plan, seen, index) for index in range(len(plan.steps))]
    seconds = [step["seconds"] for step in steps]
    return {
        "names": names,
        "what": found.sentence,
        "tone": _OUTCOME_TONES.get(found.outcome, "info"),
        "is_refused": found.outcome == "refuse",
        "other": reverse("deployment", args=[found.other]) if found.other else "",
        "steps": steps,
        "picture": _picture(steps),
        "rate": _rate(seen.calls_per_second),
        **_total(plan, seconds),
        "detect": _detect(plan, seen),
        "hints": _hints(plan, seen, names),
    }


def _step(plan: Plan, seen: Forecast, index: int) -> dict[str, Any]:
    step = plan.steps[index]
    seconds: float | None = step.hold_seconds
    if step.is_judged and step.needs_samples:
        needed = _seconds_to_judge(plan, seen, forecast.share_of(plan, step))
        seconds = None if needed is None else max(step.hold_seconds, needed)
    return {
        "name": step.name,
        "share": forecast.share_of(plan, step),
        "gate": step.gate,
        "hold": rollouts.duration(step.hold_seconds) if step.hold_seconds else "at once",
        "hold_seconds": step.hold_seconds,
        "seconds": seconds,
        "probable": _probable(step.hold_seconds, seconds),
    }


def _seconds_to_judge(plan: Plan, seen: Forecast, share: int) -> float | None:
    """Time until the judge has the calls it wants; None without traffic."""
    rate = seen.calls_per_second * share / ALL
    if rate <= 0:
        return None
    return (plan.limits.min_calls or seen.calls_to_detect) / rate


def _probable(hold: float, seconds: float | None) -> str:
    if seconds is None:
        return "no calls"
    if seconds > hold:
        return about(seconds)
    return rollouts.duration(seconds) if seconds else "at once"


def about(seconds: float) -> str:
    """A predicted time: one or two digits are all that is known of it."""
    if seconds < 1:
        return "under 1 s"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"


def _picture(steps: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    longest = max((step["hold_seconds"] for step in steps), default=0.0) or 1.0
    return [
        (step["share"], max(step["hold_seconds"], longest * _PICTURE_LEAST)) for step in steps
    ] + [(steps[-1]["share"], longest / 2)]


def _total(plan: Plan, seconds: Sequence[float | None]) -> dict[str, str]:
    if plan.is_decided_by_person:
        return {"total": "Ends when you decide.", "total_note": "Nothing is promoted by itself."}
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return {
            "total": "Its end cannot be foretold.",
            "total_note": "Without calls the judge has nothing to judge.",
        }
    total = sum(known)
    is_planned = total <= sum(step.hold_seconds for step in plan.steps)
    text = f"{rollouts.duration(total) if is_planned else about(total)} in all"
    text = text.capitalize() if total else "At once"
    kept = f"then the old version stays warm for {rollouts.duration(plan.keep_blue_seconds)}"
    return {"total": f"{text},", "total_note": f"{kept}."}


def _rate(calls_per_second: float) -> str:
    """1.4 calls a second; 12 calls an hour."""
    for size, unit in ((1, "second"), (60, "minute"), (3_600, "hour")):
        if calls_per_second * size >= 1:
            return f"{calls_per_second * size:.2g} calls a {unit}"
    return f"{calls_per_second * 86_400:.0f} calls a day"


def _detect(plan: Plan, seen: Forecast) -> list[dict[str, str]]:
    """How long the first judged step takes to find harm."""
    first = next((step for step in plan.steps if step.is_judged and step.weight), None)
    if first is None or not seen.calls_per_second:
        return []
    share = forecast.share_of(plan, first)
    rate = seen.calls_per_second * share / ALL
    return [
        {
            "text": f"a {worse:g}x rise over the limit",
            "time": about(power.calls_to_detect(plan.limits, worse, PROBABILITY) / rate),
        }
        for worse in TIMES_WORSE
        if rate > 0
    ]


def _hints(plan: Plan, seen: Forecast, names: Mapping[str, str]) -> list[dict[str, str]]:
    """What somebody should know before starting."""
    if not seen.calls_per_second:
        text = "Nobody called this function in the last day: a judged step holds until calls come."
        return [{"tone": "warn", "text": text}]
    hints = []
    slow = _slowest(plan, seen)
    if slow is not None:
        share, seconds = slow
        text = (
            f"At {_rate(seen.calls_per_second)} a share of {percent_text(share)} needs "
            f"{about(seconds)} to notice a 3x rise. A larger first share, or fewer calls to "
            "judge, decides sooner."
        )
        hints.append({"tone": "warn", "text": text})
    if plan.steps[0].weight == ALL and plan.steps[0].runner_share is None and len(plan.steps) == 1:
        text = (
            f"Every caller gets {names['new']} at once. The guards stay on for "
            f"{rollouts.duration(plan.keep_blue_seconds)} and can still go back."
        )
        hints.append({"tone": "info", "text": text})
    return hints


def _slowest(plan: Plan, seen: Forecast) -> tuple[int, float] | None:
    """Share and seconds of the first step that needs far longer than it was planned for."""
    for step in plan.steps:
        share = forecast.share_of(plan, step)
        needed = _seconds_to_judge(plan, seen, share)
        if step.is_judged and step.needs_samples and needed:
            is_long = needed > max(2 * step.hold_seconds, LONG_SECONDS / 4)
            return (share, needed) if is_long else None
    return None
