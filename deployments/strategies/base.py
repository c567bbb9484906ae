"""What all strategies share: their registry, the common settings, and plans as documents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from deployments.sources.metrics import sources_checked
from deployments.strategies.settings import Settings, nearest
from deployments.types import ALL, Fleet, Limits, OnInconclusive, Plan, Step, Strategy
from hotswap.core.errors import InvalidInput
from hotswap.core.registry import Registry

REQUEST_KEYS: Final = frozenset(
    {"functionName", "version", "alias", "environment", "strategy", "config", "message"}
    | {"reversible", "dryRun"}
)
"""What a request says beside its strategy's settings."""

SHORTEST_SECONDS: Final = 1.0
"""The machine looks once a second: nothing shorter can be observed."""
RATE_LEAST: Final = 0.0001
RATE_MOST: Final = 0.9
SUCCESS_LEAST: Final = 0.1
SUCCESS_MOST: Final = 0.9999
LATENCY_MOST_MS: Final = 900_000
CALLS_MOST: Final = 10_000_000
EXTENSIONS_MOST: Final = 10
_DECIMALS: Final = 9  # 1 - 0.95 is 0.05 again


APPROVAL: Final = "approval"
"""`Step.gate` of a step behind which people must say yes."""


class ApprovalBefore(StrEnum):
    """What may have to be approved while a deployment is on its way."""

    PROMOTION = "promotion"
    EVERY_STEP = "every-step"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDefaults:
    """What an environment says where the settings say nothing."""

    on_inconclusive: OnInconclusive = OnInconclusive.EXTEND
    after_extensions: OnInconclusive = OnInconclusive.HOLD
    extensions: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a plan is made for. `stable` and `candidate` are version numbers, where known."""

    fleet: Fleet
    timeout_seconds: int
    is_idempotent: bool
    defaults: PlanDefaults
    stable: int | None = None
    candidate: int | None = None


Planner = Callable[[Settings, Target], Plan]
"""Steps and whatever differs from the defaults of `Plan`; common settings are laid over it.
A planner notes faults in the settings and goes on, so that all are told at once."""

strategies: Final[Registry[Planner]] = Registry("strategy")

_NAMES: Final = {
    "direct": Strategy.ALL_AT_ONCE,
    **{strategy.lower(): strategy for strategy in Strategy},
}


def strategy_named(name: str) -> Strategy:
    """A strategy by its name in any case, also with dashes or underscores: `blue-green`.

    Raises:
        InvalidInput: there is none of this name.
    """
    folded = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    if folded in _NAMES:
        return _NAMES[folded]
    message = f"There is no strategy {name[:40]!r}. {nearest(name, list(Strategy))}"
    raise InvalidInput(f"strategy: {message}", errors=[{"field": "strategy", "message": message}])


def settings_in(body: Mapping[str, object]) -> dict[str, object]:
    """A request's settings: those in its `config`, or those beside its `strategy`.

    Raises:
        InvalidInput: there are some in both places, or `config` is no object.
    """
    config = body.get("config", {})
    beside = {key: value for key, value in body.items() if key not in REQUEST_KEYS}
    faults: dict[str, str] = {}
    if not isinstance(config, Mapping):
        faults["config"] = "It must be an object."
    elif config:
        text = "Settings stand either in config or beside strategy, and this request has a config."
        hint = "Put it there, or mend its name:"
        faults = {key: f"{text} {hint} {nearest(key, REQUEST_KEYS)}" for key in beside}
    if faults:
        field, message = next(iter(faults.items()))
        errors = [{"field": key, "message": text} for key, text in faults.items()]
        raise InvalidInput(f"{field}: {message}", errors=errors)
    return {str(key): value for key, value in {**config, **beside}.items()}  # type: ignore[dict-item]


def compile_plan(
    *,
    strategy: Strategy,
    config: Mapping[str, object],
    fleet: Fleet,
    function_timeout_seconds: int,
    is_idempotent: bool,
    defaults: PlanDefaults,
    stable: int | None = None,
    candidate: int | None = None,
) -> Plan:
    """What a strategy with these settings does.

    Args:
        stable, candidate: version numbers; A/B testing needs both to know which arm is which.

    Raises:
        InvalidInput: with every fault of the settings in `errors`.
    """
    settings = Settings(config)
    target = Target(
        fleet=fleet,
        timeout_seconds=function_timeout_seconds,
        is_idempotent=is_idempotent,
        defaults=defaults,
        stable=stable,
        candidate=candidate,
    )
    _check_metrics(settings, config)
    outline = strategies.get(strategy)(settings, target)
    plan = _completed(outline, settings, target)
    settings.check()
    return plan


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plan))
    return document


def plan_load(document: Mapping[str, Any]) -> Plan:
    """The plan that `plan_document` wrote, equal in every field."""
    return msgspec.convert(document, Plan)


def _check_metrics(settings: Settings, config: Mapping[str, object]) -> None:
    """External metrics are no part of a plan, but they stand among its settings."""
    if "metrics" not in settings:
        return
    try:
        sources_checked(config)
    except InvalidInput as exc:
        field, _, message = exc.detail.partition(": ")
        settings.fault(field, message)


def _completed(plan: Plan, settings: Settings, target: Target) -> Plan:
    """The plan with the settings that all strategies know."""
    return replace(
        plan,
        steps=_gated(plan.steps, settings),
        limits=_limits(settings),
        keep_blue_seconds=settings.seconds("keepBlue", plan.keep_blue_seconds),
        rolls_back=settings.flag("rollbackOnFailure", default=True),
        unit=settings.unit("stickyBy", plan.unit),
        mirror=_mirror(settings, target),
        hold_timeout_seconds=settings.seconds("holdTimeout", plan.hold_timeout_seconds),
        progress_deadline_seconds=settings.seconds(
            "progressDeadline", plan.progress_deadline_seconds, least=SHORTEST_SECONDS
        ),
        on_inconclusive=settings.choice(
            "onInconclusive", target.defaults.on_inconclusive, list(OnInconclusive)
        ),
        after_extensions=settings.choice(
            "afterExtensions",
            target.defaults.after_extensions,
            [OnInconclusive.HOLD, OnInconclusive.ROLL_BACK, OnInconclusive.PROMOTE],
        ),
        extensions=settings.whole(
            "extensions", target.defaults.extensions, least=0, most=EXTENSIONS_MOST
        ),
    )


def _gated(steps: tuple[Step, ...], settings: Settings) -> tuple[Step, ...]:
    """The steps, with people's word between them where that is asked for."""
    if "approvalBefore" not in settings:
        return steps
    before = settings.choice("approvalBefore", ApprovalBefore.PROMOTION, list(ApprovalBefore))
    if len(steps) == 1:
        settings.fault("approvalBefore", "This plan has one step only; nothing comes before it.")
    first = 0 if before is ApprovalBefore.EVERY_STEP else len(steps) - 2
    return tuple(
        replace(step, gate=APPROVAL) if first <= index < len(steps) - 1 else step
        for index, step in enumerate(steps)
    )


def _mirror(settings: Settings, target: Target) -> int:
    share = settings.percent("mirrorPercentage", 0, least=0, most=ALL)
    if share and not target.is_idempotent:
        settings.fault(
            "mirrorPercentage",
            "The function is not marked idempotent: repeating its calls might do things twice.",
        )
    return share


def _limits(settings: Settings) -> Limits:
    thresholds = settings.within("rollbackThresholds")
    rate = {"least": RATE_LEAST, "most": RATE_MOST}
    error_rates = (
        settings.number("rollbackOnErrorRate", None, **rate),
        thresholds.number("errorRate", None, **rate),
    )
    latency = {"least": 1, "most": LATENCY_MOST_MS}
    latencies = (
        settings.whole("rollbackOnLatencyP99", None, **latency),
        thresholds.whole("latencyP99Ms", None, **latency),
    )
    success = thresholds.number("successRate", None, least=SUCCESS_LEAST, most=SUCCESS_MOST)
    thresholds.note_unknown()
    _check_same(settings, "rollbackOnErrorRate", error_rates)
    _check_same(settings, "rollbackOnLatencyP99", latencies)
    failing = None if success is None else round(1 - success, _DECIMALS)
    rates = [found for found in (*error_rates, failing) if found is not None]
    return Limits(
        error_rate=min(rates) if rates else Limits().error_rate,
        slow_ms=next((found for found in latencies if found is not None), None),
        needs_proof=settings.flag("needsProof", default=False),
        min_calls=settings.whole("minimumCalls", None, least=1, most=CALLS_MOST),
    )


def _check_same(settings: Settings, key: str, spellings: tuple[float | None, float | None]) -> None:
    """Two spellings of one limit must say the same."""
    given = {value for value in spellings if value is not None}
    if len(given) > 1:
        settings.fault(key, "rollbackThresholds says something else for the same limit.")
