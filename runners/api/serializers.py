"""The API's words for what the data plane reported."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import Field

from runners.models import InvocationRecord
from runners.services.log_lines import LEVELS
from runners.types import LogQuery, NodeState


@extend_schema_field({"type": ["string", "null"]})
class VersionField(serializers.Field[int | None, str, str | None, int | None]):
    """`v3`; null when the version is gone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: int | None) -> str | None:
        return f"v{value}" if value else None


class _Span(serializers.Serializer[Any]):
    """`from` and `to`: a word that Python keeps for itself cannot be declared as an attribute."""

    to = serializers.DateTimeField(source="end", required=False)

    def get_fields(self) -> dict[str, Field[Any, Any, Any, Any]]:
        start = serializers.DateTimeField(source="start", required=False)
        return {"from": start, **super().get_fields()}


class InvocationQuery(_Span):
    """Filters of the invocations list."""

    status = serializers.ChoiceField(choices=["succeeded", "failed"], required=False)
    outcome = serializers.CharField(required=False, help_text='"ok" or a problem slug')
    version = serializers.CharField(required=False, help_text="such as v3")
    alias = serializers.CharField(required=False)
    cold = serializers.BooleanField(required=False, allow_null=True, default=None)
    search = serializers.CharField(required=False, help_text="beginning of a request id")


class MetricsQuery(_Span):
    """The span of the metrics: the last hour unless it is given."""

    step = serializers.IntegerField(
        required=False, min_value=60, help_text="seconds between two points, whole minutes"
    )
    version = serializers.CharField(required=False, help_text="such as v3")


class LogLinesQuery(serializers.Serializer[Any]):
    """Which lines of a log, and where to begin."""

    after = serializers.IntegerField(required=False, min_value=0, help_text="oldest lines above")
    before = serializers.IntegerField(required=False, min_value=1, help_text="newest lines below")
    limit = serializers.IntegerField(default=200, min_value=1, max_value=2_000)
    level = serializers.CharField(required=False, help_text=f"some of {', '.join(LEVELS)}")
    requestId = serializers.CharField(source="request_id", required=False)
    q = serializers.CharField(required=False, max_length=200, help_text="text that lines contain")

    def validate_level(self, value: str) -> frozenset[str]:
        levels = frozenset(level.strip().upper() for level in value.split(",") if level.strip())
        if unknown := levels - set(LEVELS):
            raise serializers.ValidationError(f"{min(unknown)} is not one of {', '.join(LEVELS)}.")
        return levels

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "after" in attrs and "before" in attrs:
            raise serializers.ValidationError("Give `after` or `before`, not both.")
        return attrs

    def wanted(self) -> LogQuery:
        """The query that was asked; valid after `is_valid`."""
        asked = self.validated_data
        return LogQuery(
            levels=asked.get("level", frozenset()),
            request_id=asked.get("request_id", ""),
            text=asked.get("q", ""),
        )


class InvocationSerializer(serializers.ModelSerializer[InvocationRecord]):
    """One invocation. Times are milliseconds with three decimals, sizes bytes."""

    id = serializers.CharField(source="request_id")
    version = serializers.SerializerMethodField()
    endedAt = serializers.DateTimeField(source="ended_at")
    coldStart = serializers.BooleanField(source="cold")
    totalMs = serializers.SerializerMethodField()
    queueMs = serializers.SerializerMethodField()
    initMs = serializers.SerializerMethodField()
    runMs = serializers.SerializerMethodField()
    billedMs = serializers.IntegerField(source="billed_ms")
    memoryUsedMib = serializers.SerializerMethodField()
    requestBytes = serializers.IntegerField(source="request_bytes")
    responseBytes = serializers.IntegerField(source="response_bytes")
    traceId = serializers.CharField(source="trace_id")

    class Meta:
        model = InvocationRecord
        fields = (
            "id", "version", "alias", "user", "endedAt", "outcome", "status", "coldStart",
            "totalMs", "queueMs", "initMs", "runMs", "billedMs", "memoryUsedMib",
            "requestBytes", "responseBytes", "instance", "traceId",
        )  # fmt: skip

    def get_version(self, record: InvocationRecord) -> str | None:
        """The version that ran, such as v3; null when it is gone."""
        number = self.context["versions"].get(record.version_id)
        return f"v{number}" if number else None

    def get_totalMs(self, record: InvocationRecord) -> float:
        """The caller's wait at the gateway."""
        return record.total_us / 1000

    def get_queueMs(self, record: InvocationRecord) -> float:
        """Of it: waiting for an instance."""
        return record.queue_us / 1000

    def get_initMs(self, record: InvocationRecord) -> float:
        """Of it: loading the function, in a cold start."""
        return record.init_us / 1000

    def get_runMs(self, record: InvocationRecord) -> float:
        """Of it: the handler itself."""
        return record.run_us / 1000

    def get_memoryUsedMib(self, record: InvocationRecord) -> float:
        """Peak memory of the instance so far."""
        return round(record.memory_kib / 1024, 1)


class ErrorSerializer(serializers.Serializer[Any]):
    """What the function raised."""

    errorType = serializers.CharField(required=False)
    errorMessage = serializers.CharField(required=False)
    stackTrace = serializers.ListField(child=serializers.CharField(), required=False)


class InvocationDetailSerializer(InvocationSerializer):
    """One invocation with its error."""

    error = ErrorSerializer(allow_null=True)

    class Meta(InvocationSerializer.Meta):
        fields = (*InvocationSerializer.Meta.fields, "error")  # type: ignore[assignment]  # longer


class LogLineSerializer(serializers.Serializer[Any]):
    """One line of a log."""

    seq = serializers.IntegerField()
    time = serializers.DateTimeField()
    level = serializers.ChoiceField(choices=LEVELS)
    requestId = serializers.CharField(source="request_id")
    version = VersionField()
    instance = serializers.CharField()
    text = serializers.CharField()


class LogPageSerializer(serializers.Serializer[Any]):
    """Lines in rising order; go on with `before=first` or `after=last`."""

    items = LogLineSerializer(many=True, source="lines")
    first = serializers.IntegerField()
    last = serializers.IntegerField()
    atStart = serializers.BooleanField(source="at_start")
    atEnd = serializers.BooleanField(source="at_end")


class FiguresSerializer(serializers.Serializer[Any]):
    """What was counted in a span; averages and percentiles are null without calls."""

    invocations = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]  # DRF's own is for input
    outcomes = serializers.DictField(child=serializers.IntegerField())
    coldStarts = serializers.IntegerField(source="cold_starts")
    averageMs = serializers.FloatField(source="average_ms", allow_null=True)
    averageInitMs = serializers.FloatField(source="average_init_ms", allow_null=True)
    p50Ms = serializers.FloatField(source="p50_ms", allow_null=True)
    p95Ms = serializers.FloatField(source="p95_ms", allow_null=True)
    p99Ms = serializers.FloatField(source="p99_ms", allow_null=True)
    billedMs = serializers.IntegerField(source="billed_ms")
    memoryPeakMib = serializers.FloatField(source="memory_peak_mib")


class SeriesSerializer(serializers.Serializer[Any]):
    """Figures of one version, or of all when `version` is null."""

    version = VersionField()
    summary = FiguresSerializer()
    points = FiguresSerializer(many=True)


class MetricsSerializer(serializers.Serializer[Any]):
    """Time series: every series has one point for each of `times`."""

    stepSeconds = serializers.IntegerField(source="step_seconds")
    times = serializers.ListField(child=serializers.DateTimeField())
    total = SeriesSerializer()
    versions = SeriesSerializer(many=True)

    def get_fields(self) -> dict[str, Field[Any, Any, Any, Any]]:
        start = serializers.DateTimeField(source="start")
        end = serializers.DateTimeField(source="end")
        return {"from": start, "to": end, **super().get_fields()}


class InstanceSerializer(serializers.Serializer[Any]):
    """One instance on a runner."""

    id = serializers.CharField()
    function = serializers.CharField()
    version = VersionField()
    state = serializers.CharField()
    startedAt = serializers.DateTimeField(source="started_at")
    invocations = serializers.IntegerField()
    memoryMib = serializers.FloatField(source="memory_mib")


class RunnerSerializer(serializers.Serializer[Any]):
    """One runner."""

    name = serializers.CharField()
    region = serializers.CharField(help_text="empty where none is configured")
    state = serializers.ChoiceField(choices=[state.value for state in NodeState])
    reasons = serializers.ListField(child=serializers.CharField())
    seenAt = serializers.DateTimeField(source="seen_at")
    seenSecondsAgo = serializers.FloatField(source="seen_seconds_ago")
    startedAt = serializers.DateTimeField(source="started_at")
    release = serializers.CharField()
    backend = serializers.CharField()
    enforced = serializers.ListField(child=serializers.CharField())
    missing = serializers.ListField(child=serializers.CharField())
    runtimes = serializers.ListField(child=serializers.CharField())
    stemCells = serializers.DictField(source="stem_cells", child=serializers.IntegerField())
    instanceCount = serializers.SerializerMethodField()
    queued = serializers.IntegerField()
    memoryTotalMib = serializers.IntegerField(source="memory_total_mib")
    memoryFreeMib = serializers.IntegerField(source="memory_free_mib")
    load = serializers.FloatField()
    tableRevision = serializers.IntegerField(source="table_revision")

    def get_instanceCount(self, node: Any) -> int:
        """How many instances it runs."""
        return len(node.instances)


class RunnerDetailSerializer(RunnerSerializer):
    """One runner with its instances."""

    instances = InstanceSerializer(many=True)
