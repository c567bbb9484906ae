"""What pages say of a deployment: where it stands, what comes next, and why. Plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from deployments import forecast
from deployments.states import TERMINAL, Command, Held, Phase
from deployments.types import ALL, Plan, Step, Strategy

STRATEGY_NAMES: Final = {
    Strategy.ALL_AT_ONCE: "All at once",
    Strategy.CANARY: "Canary",
    Strategy.BLUE_GREEN: "Blue-green",
    Strategy.ROLLING: "Rolling",
    Strategy.AB_TESTING: "A/B test",
    Strategy.REGIONAL: "Regional",
}
PHASE_NAMES: Final = {
    Phase.QUEUED: "Queued",
    Phase.AWAITING_APPROVAL: "Awaits approval",
    Phase.PREPARING: "Preparing",
    Phase.SHIFTING: "Shifting calls",
    Phase.OBSERVING: "Observing",
    Phase.HELD: "Held",
    Phase.PROMOTING: "Promoting",
    Phase.SETTLING: "Settling",
    Phase.ROLLING_BACK: "Rolling back",
    Phase.ROLLBACK_STUCK: "Rollback stuck",
    Phase.SUCCEEDED: "Succeeded",
    Phase.ROLLED_BACK: "Rolled back",
    Phase.SUPERSEDED: "Superseded",
    Phase.FAILED: "Failed",
    Phase.CANCELLED: "Cancelled",
}
HELD_NAMES: Final = {
    Held.MANUAL: "Paused",
    Held.GATE: "Waits for a gate",
    Held.INCONCLUSIVE: "Inconclusive",
    Held.NO_TRAFFIC: "No traffic",
    Held.METRICS_STALE: "No fresh figures",
    Held.SHARED_CAUSE: "Both versions fail",
    Held.FREEZE: "Frozen",
    Held.STABLE_UNHEALTHY: "Old version unhealthy",
    Held.IRREVERSIBLE: "Cannot roll back",
    Held.DECISION: "Awaits a decision",
}
TONES: Final = {
    Phase.QUEUED: "info",
    Phase.AWAITING_APPROVAL: "warn",
    Phase.HELD: "warn",
    Phase.ROLLING_BACK: "warn",
    Phase.ROLLBACK_STUCK: "bad",
    Phase.SUCCEEDED: "ok",
    Phase.ROLLED_BACK: "bad",
    Phase.FAILED: "bad",
    Phase.SUPERSEDED: "",
    Phase.CANCELLED: "",
}
_SENTENCES: Final = {
    Phase.QUEUED: "Waits until the deployment before it is over.",
    Phase.AWAITING_APPROVAL: "Nothing starts before people have approved it.",
    Phase.PREPARING: "An instance of {new} starts; no call reaches it yet.",
    Phase.SHIFTING: "Gateways take over the new weights.",
    Phase.OBSERVING: "The judge watches every call of {new} that ends.",
    Phase.HELD: "The clock stands; the guards stay on.",
    Phase.PROMOTING: "All calls move to {new}.",
    Phase.SETTLING: "{new} serves every call; {old} stays warm for a way back.",
    Phase.ROLLING_BACK: "All calls go back to {old}.",
    Phase.ROLLBACK_STUCK: "A gateway does not confirm the way back; it is asked again and again.",
    Phase.SUCCEEDED: "{new} serves every call.",
    Phase.ROLLED_BACK: "{old} serves every call, as before.",
    Phase.SUPERSEDED: "A newer deployment took its place; calls went back to {old} first.",
    Phase.FAILED: "It ended before any call reached {new}.",
    Phase.CANCELLED: "It ended before it began.",
}


_COUNTDOWNS: Final = frozenset({Phase.OBSERVING, Phase.SETTLING, Phase.HELD})
_DEADLINES: Final = frozenset({Phase.PREPARING, Phase.SHIFTING})


@dataclass(frozen=True, slots=True)
class Verb:
    """A button. `asks` is the dialog's question for what must not happen by accident."""

    name: str
    icon: str
    tone: str = ""
    asks: str = ""
    means: str = ""


VERBS: Final = {
    Command.RESUME: Verb("Resume", "play", "primary", "", "Let the clock go on"),
    Command.PROMOTE: Verb("Promote", "arrow-right", "primary", "", "Go on to the next step now"),
    Command.PROMOTE_FULL: Verb(
        "Promote fully",
        "chevrons-right",
        "",
        "Send all calls to {new} now?",
        "The steps that are left are skipped, and with them what the judge would have seen. "
        "The guards stay on, and {old} stays warm for a way back.",
    ),
    Command.PAUSE: Verb("Pause", "pause", "", "", "Stop the clock where it is; guards stay on"),
    Command.APPROVE: Verb("Approve", "circle-check", "primary", "", "Say yes to exactly this"),
    Command.REJECT: Verb(
        "Reject", "circle-x", "danger", "Reject this deployment?", "It ends; nothing has changed."
    ),
    Command.ABORT: Verb(
        "Abort",
        "circle-x",
        "danger",
        "Abort this deployment?",
        "All calls go to {old} at once, and the deployment ends. Calls that run are not cut off.",
    ),
    Command.ROLLBACK: Verb(
        "Roll back",
        "rotate-ccw",
        "danger",
        "Roll back to {old}?",
        "All calls go to {old} at once; it is still warm. Calls that run are not cut off.",
    ),
    Command.RETRY: Verb(
        "Retry", "refresh-cw", "primary", "", "Start a new attempt with empty evidence"
    ),
}


def one_way_back(allowed: Sequence[Command], attempt: Any) -> list[Command]:
    """Abort and roll back do the same: before promotion the one is offered, after it the other."""
    late = {Phase.PROMOTING, Phase.SETTLING}
    is_promoted = bool(late & {attempt.phase, attempt.held_from})
    spare = Command.ABORT if is_promoted else Command.ROLLBACK
    if {Command.ABORT, Command.ROLLBACK} <= set(allowed):
        return [command for command in allowed if command is not spare]
    return list(allowed)


@dataclass(frozen=True, slots=True)
class Stop:
    """One step on the track. `state` is done, now, next, failed (it ended there) or never."""

    number: int
    name: str
    share: int
    hold: str
    gate: str
    state: str
    is_judged: bool


@dataclass(frozen=True, slots=True)
class Situation:
    """Where an attempt stands, in words.

    Attributes:
        tone: ok, bad, warn, info, accent or "" (over, nothing to say).
        label: of the badge. `reason` says why, `next` what follows.
        left, whole: seconds that the running clock has left, and had at its start.
        clock: "next" when `next` comes as it runs out, "deadline", or "" when none runs.
        passed: seconds since the phase began.
    """

    tone: str
    label: str
    reason: str
    next: str = ""
    left: float | None = None
    whole: float | None = None
    clock: str = ""
    passed: float = 0.0
    is_running: bool = False


def versions_of(deployment: Any) -> dict[str, str]:
    """`old` and `new` as people call them."""
    old = deployment.from_number
    return {"old": f"v{old}" if old else "nothing", "new": f"v{deployment.to_number}"}


def share_of(attempt: Any) -> int:
    """The candidate's share in basis points; the mean where runners differ."""
    weights: list[int] = list(attempt.runner_weights.values()) or [attempt.weight]
    return round(sum(weights) / len(weights))


def track(plan: Plan, attempt: Any) -> list[Stop]:
    """The steps with what was done, what is on and what follows."""
    phase = Phase(attempt.phase)
    return [
        Stop(
            number=index + 1,
            name=step.name,
            share=forecast.share_of(plan, step),
            hold=duration(step.hold_seconds) if step.hold_seconds else "",
            gate=step.gate,
            state=_state(index, phase, attempt.step_index),
            is_judged=step.is_judged,
        )
        for index, step in enumerate(plan.steps)
    ]


def _state(index: int, phase: Phase, at: int) -> str:
    if phase in (Phase.SUCCEEDED, Phase.SETTLING, Phase.PROMOTING):
        return "done"
    if index < at:
        return "done"
    if phase in (Phase.ROLLING_BACK, Phase.ROLLBACK_STUCK, Phase.ROLLED_BACK):
        return "failed" if index == at else "never"
    if phase in TERMINAL:
        return "never"
    has_begun = phase in (Phase.SHIFTING, Phase.OBSERVING, Phase.HELD)
    return "now" if index == at and has_begun else "next"


def situation(
    *,
    deployment: Any,
    attempt: Any,
    plan: Plan,
    approvals_missing: int = 0,
    now: datetime,
) -> Situation:
    """The phase with its reason in a sentence, and the next step."""
    phase = Phase(attempt.phase)
    names = versions_of(deployment)
    left, whole = _clock(phase, attempt, plan, now)
    return Situation(
        tone=TONES.get(phase, "accent"),
        label=label_of(attempt),
        reason=reason_of(deployment, attempt),
        next=_next(phase, attempt, plan, names, left, approvals_missing),
        left=left,
        whole=whole,
        clock=_clock_kind(phase) if left else "",
        passed=max(0.0, (now - attempt.phase_since).total_seconds()),
        is_running=phase not in TERMINAL,
    )


def reason_of(deployment: Any, attempt: Any) -> str:
    """Why it stands there: what the machine says, else what the phase means."""
    sentence = _SENTENCES[Phase(attempt.phase)].format(**versions_of(deployment))
    return _ended(attempt.reason) or sentence


def label_of(attempt: Any) -> str:
    """The phase's name, with the reason where it is held."""
    name = PHASE_NAMES[Phase(attempt.phase)]
    return (
        f"{name}: {HELD_NAMES[Held(attempt.held_reason)].lower()}" if attempt.held_reason else name
    )


def tone_of(attempt: Any) -> str:
    """The phase's tone."""
    return TONES.get(Phase(attempt.phase), "accent")


def _clock(
    phase: Phase, attempt: Any, plan: Plan, now: datetime
) -> tuple[float | None, float | None]:
    """Seconds left on the clock that matters in this phase, and its whole."""
    if phase is Phase.OBSERVING:
        whole = plan.steps[attempt.step_index].hold_seconds * (1 + attempt.extensions)
        seen = attempt.observed_seconds
        if attempt.observing_since is not None:
            seen += (now - attempt.observing_since).total_seconds()
        return max(0.0, whole - seen), whole
    if phase is Phase.SETTLING:
        return _left(attempt, plan.keep_blue_seconds, now)
    if phase is Phase.HELD and plan.hold_timeout_seconds:
        return _left(attempt, plan.hold_timeout_seconds, now)
    if phase in _DEADLINES:
        return _left(attempt, plan.progress_deadline_seconds, now)
    return None, None


def _clock_kind(phase: Phase) -> str:
    return "next" if phase in _COUNTDOWNS else "deadline"


def _left(attempt: Any, whole: float, now: datetime) -> tuple[float, float]:
    return max(0.0, whole - (now - attempt.phase_since).total_seconds()), whole


def _next(
    phase: Phase,
    attempt: Any,
    plan: Plan,
    names: Mapping[str, str],
    left: float | None,
    approvals_missing: int,
) -> str:
    if phase is Phase.OBSERVING:
        return _after_observing(attempt, plan, names, left)
    first = plan.steps[0]
    texts = {
        Phase.QUEUED: "it starts when the one before it is over",
        Phase.AWAITING_APPROVAL: f"it starts with {_counted(approvals_missing, 'more approval')}",
        Phase.PREPARING: f"{step_text(first)} once {names['new']} is warm",
        Phase.SHIFTING: "the clock of this step starts when every gateway has the route",
        Phase.HELD: _after_hold(attempt, plan, names, left),
        Phase.PROMOTING: f"{names['old']} is kept warm for {duration(plan.keep_blue_seconds)}",
        Phase.SETTLING: f"{names['old']} may cool down",
        Phase.ROLLING_BACK: "it ends when every gateway has the way back",
        Phase.ROLLBACK_STUCK: "find the gateway that does not answer; it ends by itself then",
    }
    return texts.get(phase, "")


def _after_observing(attempt: Any, plan: Plan, names: Mapping[str, str], left: float | None) -> str:
    step = plan.steps[attempt.step_index]
    is_last = attempt.step_index + 1 >= len(plan.steps)
    if is_last:
        follows = "a person decides" if plan.is_decided_by_person else f"{names['new']} is promoted"
    else:
        follows = step_text(plan.steps[attempt.step_index + 1])
    index = attempt.step_index
    if step.gate and not {f"step-{index}", f"{step.gate}-{index}"} & set(attempt.gates_passed):
        follows = f"{gate_text(step.gate)}, then {follows}"
    return f"{follows}, if the judge passes" if left else f"{follows} as soon as the judge passes"


def _after_hold(attempt: Any, plan: Plan, names: Mapping[str, str], left: float | None) -> str:
    if left is not None:
        return f"unless somebody acts, all calls go back to {names['old']}"
    texts = {
        Held.MANUAL: "it goes on when somebody resumes it",
        Held.GATE: "it goes on when the gate opens",
        Held.INCONCLUSIVE: "a person promotes it or rolls it back",
        Held.NO_TRAFFIC: "it goes on when calls come",
        Held.METRICS_STALE: "it goes on when every gateway reports again",
        Held.SHARED_CAUSE: "it goes on when the cause is gone, or a person decides",
        Held.FREEZE: "it goes on when the freeze is over; rolling back is possible",
        Held.STABLE_UNHEALTHY: "a person promotes it or rolls it back",
        Held.IRREVERSIBLE: "a person mends it: this deployment was marked as not reversible",
        Held.DECISION: "a person promotes it or rolls it back",
    }
    return texts.get(Held(attempt.held_reason), "") if attempt.held_reason else ""


def step_text(step: Step) -> str:
    """A step's name, or its share."""
    return step.name or f"{step.weight / 100:g} %"


def gate_text(gate: str) -> str:
    """What a gate waits for."""
    return "approval by a person" if gate == "approval" else f"the answer of the hook {gate}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _ended(text: str) -> str:
    return text if not text or text[-1] in ".!?" else f"{text}."


def duration(seconds: float) -> str:
    """A planned time for people: 45 s, 10 min, 1 h 30 min, 2 d."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    sizes = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    parts = []
    for size, unit in sizes:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def clock_text(seconds: float) -> str:
    """A running clock: 3:12, 1:04:10."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def buttons(allowed: Sequence[Command], deployment: Any) -> list[dict[str, str]]:
    """The verbs that are possible now, each once, in the order of `VERBS`; one stands out."""
    names = versions_of(deployment)
    found = [(command, verb) for command, verb in VERBS.items() if command in allowed]
    first = next((command for command, verb in found if verb.tone == "primary"), None)
    return [
        {
            "command": str(command),
            "name": verb.name,
            "icon": verb.icon,
            "tone": verb.tone if verb.tone != "primary" or command is first else "",
            "asks": verb.asks.format(**names),
            "means": verb.means.format(**names),
        }
        for command, verb in found
    ]


def path_of(steps: Sequence[tuple[int, float]], *, width: float = 120, height: float = 36) -> str:
    """The weight over time as an SVG path: (basis points, seconds) of each step."""
    total = sum(seconds for _, seconds in steps) or 1
    x, y = 0.0, height
    parts = [f"M0 {height:g}"]
    for weight, seconds in steps:
        y = height - height * weight / ALL
        parts.append(f"V{y:.1f}")
        x += width * seconds / total
        parts.append(f"H{x:.1f}")
    return "".join(parts)
