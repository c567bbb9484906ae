"""Environments, freezes, approvals and metrics as the API shows and takes them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deployments.rules import ChannelKind, HookKind, Notice, Rules
from deployments.services import business, freezes
from deployments.services.business import NewValue
from deployments.sources.metrics import Role, SourceType
from deployments.types import Concurrency, OnInconclusive


class HookOut(serializers.Serializer[Any]):
    """A program that is called."""

    kind = serializers.ChoiceField(choices=[*HookKind])
    url = serializers.CharField(help_text="whole for those who may change it, else its host")
    timeoutSeconds = serializers.FloatField(required=False, help_text="for one try; 10")
    deadlineSeconds = serializers.FloatField(required=False, help_text="for all tries; 300")


class ChannelOut(serializers.Serializer[Any]):
    """Where people are told."""

    kind = serializers.ChoiceField(choices=[*ChannelKind])
    target = serializers.CharField(help_text="a URL, or an e-mail address")
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=[*Notice]), required=False, help_text="all"
    )


@extend_schema_field(HookOut(many=True))
class _Hooks(serializers.JSONField):
    """Checked by `deployments.rules`, which names what is wrong by its path."""


@extend_schema_field(ChannelOut(many=True))
class _Channels(serializers.JSONField):
    """As `_Hooks`."""


class EnvironmentChanges(serializers.Serializer[Any]):
    """PUT: what is left out goes back to the default of the environment's name."""

    concurrency = serializers.ChoiceField(choices=[*Concurrency], required=False)
    onInconclusive = serializers.ChoiceField(
        choices=[*OnInconclusive], source="on_inconclusive", required=False
    )
    afterExtensions = serializers.ChoiceField(
        choices=[*OnInconclusive], source="after_extensions", required=False
    )
    extensions = serializers.IntegerField(required=False)
    approvalsNeeded = serializers.IntegerField(source="approvals_needed", required=False)
    approvalSeconds = serializers.IntegerField(
        source="approval_seconds",
        required=False,
        help_text="how long a deployment waits for its approvals",
    )
    stableUnhealthy = serializers.ChoiceField(
        choices=["prefer-candidate", "hold"], source="stable_unhealthy", required=False
    )
    hooks = _Hooks(required=False)
    notify = _Channels(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Turn the names of choices into choices, and refuse what there is not."""
        if unknown := sorted(set(self.initial_data) - set(self.fields)):
            raise serializers.ValidationError({unknown[0]: "There is no such rule."})
        for name, choice in (
            ("concurrency", Concurrency),
            ("on_inconclusive", OnInconclusive),
            ("after_extensions", OnInconclusive),
        ):
            if name in attrs:
                attrs[name] = choice(attrs[name])
        return attrs


class EnvironmentOut(serializers.Serializer[Rules]):
    """Rules of an environment. `context["is_masked"]` hides the paths of URLs."""

    name = serializers.CharField()
    concurrency = serializers.ChoiceField(choices=[*Concurrency])
    onInconclusive = serializers.ChoiceField(choices=[*OnInconclusive], source="on_inconclusive")
    afterExtensions = serializers.ChoiceField(choices=[*OnInconclusive], source="after_extensions")
    extensions = serializers.IntegerField()
    approvalsNeeded = serializers.IntegerField(source="approvals_needed")
    approvalSeconds = serializers.IntegerField(source="approval_seconds")
    stableUnhealthy = serializers.CharField(source="stable_unhealthy")
    hooks = serializers.SerializerMethodField("hook_documents")
    notify = serializers.SerializerMethodField("channel_documents")

    @extend_schema_field(HookOut(many=True))
    def hook_documents(self, rules: Rules) -> list[dict[str, object]]:
        return [hook.document(is_masked=self.context["is_masked"]) for hook in rules.hooks]

    @extend_schema_field(ChannelOut(many=True))
    def channel_documents(self, rules: Rules) -> list[dict[str, object]]:
        return [channel.document(is_masked=self.context["is_masked"]) for channel in rules.notify]


class EnvironmentsOut(serializers.Serializer[Any]):
    """Environments whose rules somebody set."""

    items = EnvironmentOut(many=True)


class HookSecretOut(serializers.Serializer[Any]):
    """What signs the hooks of an environment."""

    secret = serializers.CharField()


class NewFreeze(serializers.Serializer[Any]):
    """A freeze window."""

    environment = serializers.CharField(
        required=False, allow_blank=True, default="", help_text="left out: all"
    )
    startsAt = serializers.DateTimeField(required=False, help_text="left out: now")
    endsAt = serializers.DateTimeField()
    reason = serializers.CharField(max_length=freezes.REASON_MAX)


class FreezeOut(serializers.Serializer[Any]):
    """A freeze window."""

    id = serializers.IntegerField()
    environment = serializers.CharField(allow_blank=True)
    startsAt = serializers.DateTimeField(source="starts_at")
    endsAt = serializers.DateTimeField(source="ends_at")
    reason = serializers.CharField()
    createdBy = serializers.CharField(source="created_by")
    createdAt = serializers.DateTimeField(source="created_at")


class ApprovalsOut(serializers.Serializer[Any]):
    """What was said at the gate where a deployment stands."""

    needed = serializers.IntegerField()
    approvedBy = serializers.ListField(child=serializers.CharField(), source="approved_by")
    rejectedBy = serializers.ListField(child=serializers.CharField(), source="rejected_by")
    isEnough = serializers.BooleanField(source="is_enough")


class ReadingOut(serializers.Serializer[Any]):
    """An external metric and what it last said."""

    name = serializers.CharField(source="source.name")
    type = serializers.ChoiceField(choices=[*SourceType], source="source.type")
    role = serializers.ChoiceField(choices=[*Role], source="source.role")
    comparison = serializers.CharField(source="source.comparison")
    threshold = serializers.FloatField(source="source.threshold")
    at = serializers.DateTimeField(allow_null=True)
    value = serializers.FloatField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    breaches = serializers.IntegerField(help_text="readings over the limit in a row")
    state = serializers.ChoiceField(choices=["ok", "waiting", "stale", "signal", "breached"])
    sentence = serializers.CharField()


class ReadingsOut(serializers.Serializer[Any]):
    """The external metrics of a deployment."""

    items = ReadingOut(many=True)


class _Value(serializers.Serializer[Any]):
    """One value; `unit` or `requestId` says whose."""

    unit = serializers.CharField(required=False, max_length=business.UNIT_MAX)
    requestId = serializers.CharField(required=False, source="request_id", max_length=64)
    value = serializers.FloatField()
    before = serializers.FloatField(
        required=False, allow_null=True, help_text="of the same unit before the test"
    )


class NewValues(serializers.Serializer[Any]):
    """Values of one metric: many under `values`, or one beside the deployment."""

    deploymentId = serializers.UUIDField(required=False, source="deployment_id")
    functionName = serializers.CharField(required=False, source="function_name", max_length=64)
    alias = serializers.CharField(required=False, default="production", max_length=64)
    values = _Value(many=True, required=False)
    unit = serializers.CharField(required=False, max_length=business.UNIT_MAX)
    requestId = serializers.CharField(required=False, source="request_id", max_length=64)
    value = serializers.FloatField(required=False)
    before = serializers.FloatField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Bring both forms to a list of `NewValue`."""
        if ("deployment_id" in attrs) == ("function_name" in attrs):
            raise serializers.ValidationError("Name either deploymentId or functionName.")
        if ("values" in attrs) == ("value" in attrs):
            raise serializers.ValidationError("Give either values or one value.")
        items = attrs.pop("values", None)
        members = ("unit", "request_id", "value", "before")
        alone = {name: attrs.pop(name) for name in members if name in attrs}
        attrs["new"] = [NewValue(**item) for item in ([alone] if items is None else items)]
        return attrs


class AddedOut(serializers.Serializer[Any]):
    """What became of a batch."""

    accepted = serializers.IntegerField()
    repeated = serializers.IntegerField(help_text="units that had a value; the first one counts")
    unknown = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="positions of values whose request has no record on these versions; calls are"
        " recorded about a second after they end",
    )


class _Interval(serializers.ListField):
    """Lower and upper end."""

    child = serializers.FloatField()


class MetricOut(serializers.Serializer[Any]):
    """One metric: the candidate (B) against the stable version (A)."""

    metric = serializers.CharField()
    unitsA = serializers.IntegerField(source="comparison.units_a")
    unitsB = serializers.IntegerField(source="comparison.units_b")
    meanA = serializers.FloatField(source="comparison.mean_a")
    meanB = serializers.FloatField(source="comparison.mean_b")
    difference = serializers.FloatField(source="comparison.difference", help_text="B minus A")
    interval = _Interval(
        source="comparison.interval",
        allow_null=True,
        help_text="of the difference; it holds at all looks together; null with too few units",
    )
    relative = serializers.FloatField(source="comparison.relative", allow_null=True)
    relativeInterval = _Interval(source="comparison.relative_interval", allow_null=True)
    pValue = serializers.FloatField(source="comparison.p_value")
    isSignificant = serializers.BooleanField(source="comparison.is_significant")
    varianceReduction = serializers.FloatField(
        source="comparison.variance_reduction", help_text="by the values before the test (CUPED)"
    )
    sentence = serializers.CharField(source="comparison.sentence")


class SplitOut(serializers.Serializer[Any]):
    """Whether units fell to the versions as intended."""

    isMismatch = serializers.BooleanField(source="is_mismatch")
    logBayesFactor = serializers.FloatField(source="log_bayes_factor")
    sentence = serializers.CharField()


class ComparisonOut(serializers.Serializer[Any]):
    """What a test shows."""

    alpha = serializers.FloatField(help_text="chance of a false finding of each metric")
    metrics = MetricOut(many=True)
    split = SplitOut(allow_null=True, help_text="null where the shares changed on the way")
