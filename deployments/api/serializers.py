"""Deployments as the API shows and takes them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deployments import durations
from deployments.api.rules_serializers import ApprovalsOut
from deployments.api.settings_schema import SETTINGS
from deployments.forecast import Forecast
from deployments.models import Attempt, Deployment, Event
from deployments.selectors import Count
from deployments.services.approvals import ApprovalState
from deployments.services.deployments import Preview
from deployments.states import TERMINAL, Command, Held, Phase
from deployments.strategies.base import plan_load
from deployments.types import ALL, OnInconclusive, Plan, Step, Strategy
from hotswap.wire.rollouts import PREVIEW_COOKIE, PREVIEW_HEADER

REASON_MAX: Final = 500
MESSAGE_MAX: Final = 500
DEFAULT_ALIAS: Final = "production"
STEP_STATES: Final = ["next", "current", "done", "skipped", "stopped", "never"]
INCONCLUSIVE: Final = [str(word) for word in OnInconclusive]

_BEFORE: Final = frozenset({Phase.QUEUED, Phase.AWAITING_APPROVAL, Phase.PREPARING})
_BEHIND: Final = frozenset({Phase.PROMOTING, Phase.SETTLING, Phase.SUCCEEDED})
_AT_STEP: Final = frozenset({Phase.SHIFTING, Phase.OBSERVING, Phase.HELD})


@dataclass(frozen=True)
class Shown:
    """A deployment with its newest attempt and whatever belongs to the answer."""

    deployment: Deployment
    attempt: Attempt

    @cached_property
    def plan(self) -> Plan:
        return plan_load(self.deployment.plan)


@extend_schema_field({"type": ["string", "null"], "pattern": "^v[1-9][0-9]*$"})
class VersionField(serializers.Field[Any, Any, Any, Any]):
    """`v3`."""

    def to_representation(self, value: int) -> str:
        return f"v{value}"


@extend_schema_field({"type": "string", "format": "duration"})
class DurationField(serializers.Field[Any, Any, Any, Any]):
    """Seconds as `PT10M`."""

    def to_representation(self, value: float) -> str:
        return durations.text(value)


@extend_schema_field(SETTINGS)
class SettingsField(serializers.DictField):
    """A strategy's settings; planners check them."""


@extend_schema_field({"type": "string", "example": "Canary"})
class StrategyField(serializers.CharField):
    """A strategy's name in any case, also with dashes."""


# What callers send


class NewDeployment(serializers.Serializer[Any]):
    """A version, an alias, and how to get there.

    A strategy's settings stand in `config`, or beside `strategy`; unknown names are refused.
    """

    functionName = serializers.CharField(max_length=64)
    version = serializers.CharField(
        max_length=16,
        required=False,
        help_text="v5, 5 or $LATEST; ABTesting knows it from versionA and versionB",
    )
    strategy = StrategyField(max_length=40)
    config = SettingsField(required=False)
    alias = serializers.CharField(max_length=64, required=False, help_text="production by itself")
    environment = serializers.CharField(
        max_length=64, required=False, help_text="the same as alias"
    )
    message = serializers.CharField(max_length=MESSAGE_MAX, required=False, allow_blank=True)
    reversible = serializers.BooleanField(
        default=True, help_text="false: a failing version is held, and a person is called"
    )
    dryRun = serializers.BooleanField(default=False, help_text="answers with the plan only")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Bring both names of the target to `alias`."""
        environment = attrs.pop("environment", None)
        alias = attrs.setdefault("alias", environment or DEFAULT_ALIAS)
        if environment not in (None, alias):
            text = "It is another name for alias, which says something else."
            raise serializers.ValidationError({"environment": text})
        return attrs


class CommandIn(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(
        max_length=REASON_MAX, required=False, allow_blank=True, default=""
    )


class PromoteFullIn(serializers.Serializer[Any]):
    """Why what is left to be seen need not be seen."""

    reason = serializers.CharField(max_length=REASON_MAX)


class WordIn(CommandIn):
    """A person's word on what that person saw."""

    digest = serializers.CharField(
        max_length=64,
        required=False,
        allow_blank=True,
        default="",
        help_text="`digest` of the deployment as you saw it; another one is refused",
    )


# What they get


@dataclass(frozen=True)
class StepRow:
    """A step, its place, what became of it, and when harm would be found in it."""

    number: int
    step: Step
    state: str
    seconds_to_detect: float | None = None


class StepOut(serializers.Serializer[Any]):
    """One move of traffic, and what must be seen before the next."""

    number = serializers.IntegerField()
    name = serializers.CharField(source="step.name")
    state = serializers.ChoiceField(choices=STEP_STATES)
    weight = serializers.IntegerField(
        source="step.weight", help_text="the new version's share in basis points"
    )
    runnerShare = serializers.IntegerField(
        source="step.runner_share",
        allow_null=True,
        help_text="basis points of the runners that have this weight; null: all",
    )
    regions = serializers.ListField(child=serializers.CharField(), source="step.regions")
    finishedRegions = serializers.ListField(
        child=serializers.CharField(), source="step.finished_regions"
    )
    hold = DurationField(source="step.hold_seconds", help_text="shortest time of observation")
    needsSamples = serializers.BooleanField(source="step.needs_samples")
    isJudged = serializers.BooleanField(source="step.is_judged")
    gate = serializers.CharField(source="step.gate", help_text="what is waited for behind it")


class ForecastStepOut(StepOut):
    """A step of a plan, with the time in which a threefold rise would be found."""

    timeToDetect = DurationField(
        source="seconds_to_detect",
        allow_null=True,
        help_text="at today's traffic, with 95 %; null: no calls come, or none is judged",
    )


class LimitsOut(serializers.Serializer[Any]):
    """What the judge holds the new version to."""

    errorRate = serializers.FloatField(source="error_rate", allow_null=True)
    latencyP99Ms = serializers.IntegerField(source="slow_ms", allow_null=True)
    timesStable = serializers.FloatField(
        source="ratio", help_text="how many times worse than the old version is accepted"
    )
    falseRollback = serializers.FloatField(
        source="alpha", help_text="chance to roll back a healthy version, over all limits"
    )
    needsProof = serializers.BooleanField(source="needs_proof")
    minimumCalls = serializers.IntegerField(source="min_calls", allow_null=True)


class PoliciesOut(serializers.Serializer[Any]):
    """What a plan does beside its steps."""

    keepBlue = DurationField(source="keep_blue_seconds")
    warmsFully = serializers.BooleanField(source="warms_fully")
    isDecidedByPerson = serializers.BooleanField(source="is_decided_by_person")
    rollsBack = serializers.BooleanField(source="rolls_back")
    stickyBy = serializers.CharField(source="unit")
    mirror = serializers.IntegerField(help_text="basis points")
    holdTimeout = DurationField(source="hold_timeout_seconds", help_text="PT0S: never")
    progressDeadline = DurationField(source="progress_deadline_seconds")
    onInconclusive = serializers.ChoiceField(source="on_inconclusive", choices=INCONCLUSIVE)
    afterExtensions = serializers.ChoiceField(source="after_extensions", choices=INCONCLUSIVE)
    extensions = serializers.IntegerField()
    hasBarrier = serializers.BooleanField(source="has_barrier")


class WeightsOut(serializers.Serializer[Any]):
    """How calls divide now, in basis points."""

    candidate = serializers.IntegerField(source="weight")
    stable = serializers.SerializerMethodField("rest")
    runners = serializers.DictField(
        child=serializers.IntegerField(),
        source="runner_weights",
        help_text="the candidate's share on runners that differ",
    )

    def rest(self, attempt: Attempt) -> int:
        return ALL - attempt.weight


class AttemptOut(serializers.Serializer[Any]):
    """One try."""

    number = serializers.IntegerField()
    phase = serializers.ChoiceField(choices=[*Phase])
    reason = serializers.CharField()
    createdAt = serializers.DateTimeField(source="created_at")
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    finishedAt = serializers.DateTimeField(source="finished_at", allow_null=True)


class DeploymentSummary(serializers.Serializer[Any]):
    """A deployment in a list."""

    id = serializers.UUIDField(source="deployment.id")
    functionName = serializers.CharField(source="deployment.function.name")
    alias = serializers.CharField(source="deployment.alias")
    strategy = serializers.ChoiceField(source="deployment.strategy", choices=[*Strategy])
    fromVersion = VersionField(source="deployment.from_number", allow_null=True)
    toVersion = VersionField(source="deployment.to_number")
    attempt = serializers.IntegerField(source="attempt.number")
    phase = serializers.ChoiceField(source="attempt.phase", choices=[*Phase])
    heldReason = serializers.ChoiceField(source="attempt.held_reason", choices=["", *Held])
    reason = serializers.CharField(source="attempt.reason", help_text="in a sentence")
    isActive = serializers.SerializerMethodField("is_active")
    step = serializers.SerializerMethodField("step_number", help_text="number of the current one")
    stepCount = serializers.SerializerMethodField("step_count")
    weight = serializers.IntegerField(
        source="attempt.weight", help_text="the new version's share in basis points"
    )
    message = serializers.CharField(source="deployment.message")
    createdBy = serializers.CharField(source="deployment.created_by")
    createdAt = serializers.DateTimeField(source="deployment.created_at")
    startedAt = serializers.DateTimeField(source="attempt.started_at", allow_null=True)
    finishedAt = serializers.DateTimeField(source="attempt.finished_at", allow_null=True)

    def is_active(self, shown: Shown) -> bool:
        return shown.attempt.phase not in TERMINAL

    def step_number(self, shown: Shown) -> int:
        return shown.attempt.step_index + 1

    def step_count(self, shown: Shown) -> int:
        return len(shown.plan.steps)


class CountOut(serializers.Serializer[Any]):
    """Drawn calls of one version in this attempt that have ended."""

    version = VersionField()
    isCandidate = serializers.BooleanField(source="is_candidate")
    calls = serializers.IntegerField()
    bad = serializers.IntegerField(help_text="what the function or the platform did wrong")
    slow = serializers.IntegerField(help_text="longer than latencyP99Ms")


class PointOut(serializers.Serializer[Any]):
    """One window of one version."""

    at = serializers.DateTimeField(help_text="when the window began")
    calls = serializers.IntegerField()
    bad = serializers.IntegerField()
    slow = serializers.IntegerField()
    errorRate = serializers.FloatField(
        source="error_rate", allow_null=True, help_text="0 to 1; null without calls"
    )
    p50Ms = serializers.FloatField(source="p50_ms", allow_null=True)
    p99Ms = serializers.FloatField(source="p99_ms", allow_null=True)


class LineOut(serializers.Serializer[Any]):
    """One version over time, oldest window first, and all windows together."""

    version = VersionField()
    isCandidate = serializers.BooleanField(source="is_candidate")
    total = PointOut()
    points = PointOut(many=True)


class EvidenceOut(serializers.Serializer[Any]):
    """What gateways saw of an attempt."""

    attempt = serializers.IntegerField()
    windowSeconds = serializers.IntegerField()
    limits = LimitsOut()
    versions = LineOut(many=True, help_text="the old version first")


class PreviewKeyOut(serializers.Serializer[Any]):
    """What opens the new version to whoever shows it, whatever its weight."""

    header = serializers.CharField(default=PREVIEW_HEADER)
    cookie = serializers.CharField(default=PREVIEW_COOKIE)
    key = serializers.CharField(source="preview_key")


class LinksOut(serializers.Serializer[Any]):
    """Addresses that belong to a deployment."""

    self = serializers.CharField()
    events = serializers.CharField()
    evidence = serializers.CharField()
    readings = serializers.CharField()
    comparison = serializers.CharField()
    function = serializers.CharField()


@dataclass(frozen=True)
class Whole(Shown):
    """A deployment with everything that is known of it now."""

    commands: list[Command]
    approvals: ApprovalState
    counts: list[Count]
    attempts: list[Attempt]
    links: dict[str, str]

    @property
    def steps(self) -> list[StepRow]:
        return step_rows(self.plan, self.attempt)


class DeploymentOut(DeploymentSummary):
    """A deployment whole."""

    config = SettingsField(source="deployment.config", help_text="as it was asked for")
    reversible = serializers.BooleanField(source="deployment.reversible")
    digest = serializers.CharField(
        source="deployment.digest", help_text="of what is approved: versions, code, plan"
    )
    allowedCommands = serializers.ListField(
        child=serializers.ChoiceField(choices=[*Command]),
        source="commands",
    )
    steps = StepOut(many=True)
    limits = LimitsOut(source="plan.limits")
    policies = PoliciesOut(source="plan")
    weights = WeightsOut(source="attempt")
    versions = CountOut(source="counts", many=True)
    verdict = serializers.DictField(
        source="attempt.verdict", help_text="the newest judgement with its arithmetic"
    )
    approvals = ApprovalsOut()
    preview = PreviewKeyOut(source="attempt")
    epoch = serializers.IntegerField(source="attempt.epoch", help_text="of the route in force")
    extensionsUsed = serializers.IntegerField(source="attempt.extensions")
    phaseSince = serializers.DateTimeField(source="attempt.phase_since")
    observingSince = serializers.DateTimeField(
        source="attempt.observing_since", allow_null=True, help_text="null: the clock stands"
    )
    observedSeconds = serializers.FloatField(
        source="attempt.observed_seconds", help_text="what the clock had before it last stood"
    )
    deadlineAt = serializers.DateTimeField(source="attempt.deadline_at", allow_null=True)
    receipt = serializers.DictField(
        source="attempt.receipt", help_text="at the end: sent, answered and dropped by version"
    )
    attempts = AttemptOut(many=True, help_text="newest first")
    links = LinksOut()


@dataclass(frozen=True)
class Planned:
    """A preview with its forecast."""

    function_name: str
    strategy: Strategy
    preview: Preview
    forecast: Forecast

    @property
    def steps(self) -> list[StepRow]:
        return forecast_rows(self.preview.plan, self.forecast)


class PlanOut(serializers.Serializer[Planned]):
    """What a deployment would do. Nothing was written."""

    functionName = serializers.CharField(source="function_name")
    alias = serializers.CharField(source="preview.alias")
    strategy = serializers.ChoiceField(choices=[*Strategy])
    fromVersion = VersionField(source="preview.from_number", allow_null=True)
    toVersion = VersionField(source="preview.to_number")
    outcome = serializers.ChoiceField(
        source="preview.outcome",
        choices=["start", "queue", "supersede", "approval", "freeze", "refuse"],
    )
    sentence = serializers.CharField(source="preview.sentence", help_text="the outcome in words")
    other = serializers.CharField(
        source="preview.other", help_text="id of the deployment in the way, or empty"
    )
    approvalsNeeded = serializers.IntegerField(source="preview.approvals_needed")
    steps = ForecastStepOut(many=True)
    limits = LimitsOut(source="preview.plan.limits")
    policies = PoliciesOut(source="preview.plan")
    callsPerSecond = serializers.FloatField(
        source="forecast.calls_per_second", help_text="of the function, over the last day"
    )
    callsToDetect = serializers.IntegerField(
        source="forecast.calls_to_detect",
        help_text="calls of the new version until a threefold rise is found with 95 %",
    )


class EventOut(serializers.ModelSerializer[Event]):
    """What happened, who did it and why. Each event names the one before by its hash."""

    attempt = serializers.IntegerField(source="attempt.number")
    attemptId = serializers.UUIDField(source="attempt_id", help_text="a part of what is hashed")
    fromPhase = serializers.CharField(source="from_phase")
    toPhase = serializers.CharField(source="to_phase")
    detail = serializers.DictField()
    previousSha256 = serializers.CharField(source="previous_sha256")

    class Meta:
        model = Event
        fields = [
            "attempt",
            "attemptId",
            "seq",
            "at",
            "actor",
            "kind",
            "fromPhase",
            "toPhase",
            "reason",
            "detail",
            "previousSha256",
            "sha256",
        ]
        read_only_fields = fields


def step_rows(plan: Plan, attempt: Attempt) -> list[StepRow]:
    """The plan's steps and what became of each."""
    return [
        StepRow(index + 1, step, _step_state(index, attempt))
        for index, step in enumerate(plan.steps)
    ]


def forecast_rows(plan: Plan, expected: Forecast) -> list[StepRow]:
    """The steps of a plan that nobody has begun."""
    times = expected.seconds_to_detect
    return [StepRow(index + 1, step, "next", times[index]) for index, step in enumerate(plan.steps)]


def _step_state(index: int, attempt: Attempt) -> str:
    phase = attempt.phase
    if phase == Phase.HELD and attempt.held_from in _BEHIND:
        phase = attempt.held_from
    is_over = phase in TERMINAL or phase in (Phase.ROLLING_BACK, Phase.ROLLBACK_STUCK)
    later = "never" if is_over else "next"
    if phase in _BEFORE or phase in (Phase.CANCELLED, Phase.FAILED):
        return later
    if index < attempt.step_index:
        return "done"
    if phase in _BEHIND:
        return "done" if index == attempt.step_index else "skipped"
    if index > attempt.step_index:
        return later
    return "current" if phase in _AT_STEP else "stopped"
