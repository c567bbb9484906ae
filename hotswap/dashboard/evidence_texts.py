"""The judge's word and a rollout's figures as pages show them."""

from collections.abc import Mapping
from typing import Any, Final

from deployments.analysis import power
from deployments.analysis.wording import count, e_value, percent
from deployments.types import Limits, OnInconclusive, Plan

TIMES_WORSE: Final = (10, 5, 3)
_TONES: Final = {"pass": "ok", "fail": "bad", "inconclusive": "info", "held": "warn"}
_LABELS: Final = {
    "pass": "Passes",
    "fail": "Fails",
    "inconclusive": "Undecided",
    "held": "Held",
}
_CAUSES: Final = {
    "no-traffic": "no traffic",
    "few-samples": "few calls",
    "stale-metrics": "no fresh figures",
    "time": "time runs",
    "shared-cause": "both versions fail",
}
_KINDS: Final = {
    "absolute": "against the limit",
    "relative": "against {old}",
    "stable": "{old} against the limit",
    "proof": "proof of health",
}
_INCONCLUSIVE: Final = {
    OnInconclusive.EXTEND: "the step gets its time again",
    OnInconclusive.HOLD: "it holds and calls a person",
    OnInconclusive.ROLL_BACK: "it rolls back",
    OnInconclusive.PROMOTE: "it goes on",
}


def verdict_of(
    document: Mapping[str, Any], limits: Limits, names: Mapping[str, str]
) -> dict[str, Any]:
    """The newest judgement; empty when there is none."""
    if not document:
        return {}
    cause = _CAUSES.get(document["cause"], "")
    label = _LABELS[document["verdict"]]
    calls, needed = document["candidateCalls"], document["neededCalls"]
    return {
        "label": f"{label}: {cause}" if cause else label,
        "tone": _TONES[document["verdict"]],
        "sentence": document["sentence"],
        "meter": document["meter"]["sentence"],
        "calls": count(calls),
        "needed": count(needed) if needed else "",
        "filled": min(1.0, calls / needed) if needed else 1.0,
        "odds": _odds(limits, int(document["meter"].get("trials", 0))),
        "gates": [_gate(gate, names) for gate in document["gates"]],
    }


def _odds(limits: Limits, calls: int) -> list[dict[str, Any]]:
    """How likely so many calls would have shown rises of several sizes over the limit."""
    if limits.error_rate is None:
        return []
    return [
        {
            "text": f"{worse}x the limit",
            "share": power.detection_probability(limits, worse, calls),
        }
        for worse in TIMES_WORSE
        if _is_possible(limits, worse)
    ]


def _is_possible(limits: Limits, worse: float) -> bool:
    """Whether a rate may be so many times its limit at all."""
    return all(rate * worse <= 1 for rate in power.judged(limits))


def _gate(gate: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    what = "Bad calls" if gate["metric"] == "errors" else "Slow calls"
    calls, events = gate["calls"], gate["events"]
    return {
        "name": f"{what}, {_KINDS[gate['kind']].format(**names)}",
        "events": f"{count(events)} of {count(calls)}",
        "rate": percent(events / calls) if calls else "\N{EN DASH}",
        "evidence": e_value(gate["logE"]),
        "acts_at": e_value(gate["threshold"]),
        "is_crossed": gate["hasCrossed"],
        "is_good": gate["kind"] == "proof",
        "sentence": gate["sentence"],
    }


def limits_of(limits: Limits) -> dict[str, Any]:
    """The limits in words."""
    return {
        "error_rate": percent(limits.error_rate) if limits.error_rate is not None else "",
        "slow_ms": limits.slow_ms,
        "slow_percentile": f"{100 * (1 - limits.slow_rate):g}",
        "ratio": f"{limits.ratio:g}",
    }


def agreed(plan: Plan) -> dict[str, str]:
    """What was agreed for the case that nothing is shown, and for callers."""
    first = _INCONCLUSIVE[plan.on_inconclusive]
    if plan.on_inconclusive is OnInconclusive.EXTEND:
        times = f"{plan.extensions} time{'' if plan.extensions == 1 else 's'}"
        first = f"{first}, {times}; then {_INCONCLUSIVE[plan.after_extensions]}"
    kind, _, name = plan.unit.partition(":")
    unit = {"header": f"the header {name}", "cookie": f"the cookie {name}", "user": "user"}
    return {"inconclusive": first, "unit": unit.get(kind, "")}
