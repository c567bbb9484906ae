"""Functions, versions and aliases as the API shows and takes them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from functions import checks
from functions.models import Alias, AliasTarget, Function, FunctionVersion
from functions.services.aliases import TARGETS_MAX
from functions.services.versions import MESSAGE_MAX
from hotswap.core import limits
from hotswap.core.units import cpu_weight


def _bounded(column: str, **options: Any) -> serializers.IntegerField:
    least, most = checks.BOUNDS[column]
    return serializers.IntegerField(min_value=least, max_value=most, **options)


@extend_schema_field({"type": "string", "pattern": "^v[1-9][0-9]*$"})
class _VersionNumber(serializers.Field[int, str, str, Any]):
    """`v3`, also taken as `3`."""

    def to_internal_value(self, data: object) -> int:
        match = checks.VERSION.fullmatch(str(data))
        if match is None:
            raise serializers.ValidationError("A version is written v3 or 3.")
        return int(match[1])

    def to_representation(self, value: int) -> str:
        return f"v{value}"


class Code(serializers.Serializer[Any]):
    """A package in JSON."""

    zipFile = serializers.CharField(help_text="zip file as base64")


class ConfigurationFields(serializers.Serializer[Any]):
    """What may be changed on a function; every field optional."""

    runtime = serializers.CharField(max_length=64, help_text="such as python3.11 or Python311")
    handler = serializers.CharField(max_length=256, help_text="such as main.handler")
    memorySize = _bounded(
        "memory_mib",
        source="memory_mib",
        help_text=f"MB, in steps of {limits.MEMORY_STEP_MIB}; decides the CPU share too",
    )
    timeout = _bounded("timeout_seconds", source="timeout_seconds", help_text="seconds")
    environment = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        help_text=f"at most {limits.ENVIRONMENT_MAX_BYTES} bytes together",
    )
    description = serializers.CharField(allow_blank=True, max_length=checks.DESCRIPTION_MAX)
    tags = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False)
    )
    reservedConcurrency = _bounded(
        "reserved_concurrency",
        source="reserved_concurrency",
        allow_null=True,
        help_text="calls at once over all versions; null is no cap",
    )
    maxInstances = _bounded("max_instances", source="max_instances")
    idleTimeout = _bounded(
        "idle_timeout_seconds",
        source="idle_timeout_seconds",
        help_text="seconds without a call until an instance stops",
    )
    maxQueue = _bounded("max_queue", source="max_queue", help_text="calls that may wait")
    idempotent = serializers.BooleanField(
        source="is_idempotent", help_text="may be repeated: allows mirrored traffic"
    )


class FunctionChanges(ConfigurationFields):
    """PATCH: only what is given changes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "partial": True})


class FunctionReplacement(ConfigurationFields):
    """PUT: what is left out goes back to its default."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        for name, field in fields.items():
            field.required = name in ("runtime", "handler")
        return fields


class NewFunction(FunctionReplacement):
    """A new function, with code or without."""

    name = serializers.CharField(
        max_length=limits.FUNCTION_NAME_MAX, help_text="letters, digits and dashes"
    )
    code = Code(required=False, help_text="makes version v1 in the same call")
    files = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        required=False,
        help_text="path -> text, instead of code",
    )
    message = serializers.CharField(required=False, allow_blank=True, max_length=MESSAGE_MAX)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        fields["name"].required = True
        return fields


class AliasTargetOut(serializers.ModelSerializer[AliasTarget]):
    """One share of an alias."""

    version = _VersionNumber(source="version.number")
    weight = serializers.IntegerField(source="weight_bps", help_text="basis points")

    class Meta:
        model = AliasTarget
        fields = ["version", "weight"]


class AliasOut(serializers.ModelSerializer[Alias]):
    """An alias."""

    versions = AliasTargetOut(source="targets", many=True)
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")

    class Meta:
        model = Alias
        fields = ["name", "description", "versions", "createdAt", "updatedAt"]
        read_only_fields = fields


class FunctionSummary(serializers.ModelSerializer[Function]):
    """A function in a list."""

    memorySize = serializers.IntegerField(source="memory_mib")
    timeout = serializers.IntegerField(source="timeout_seconds")
    latestVersion = _VersionNumber(source="latest_number", allow_null=True)
    createdBy = serializers.CharField(source="created_by")
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")
    deletedAt = serializers.DateTimeField(source="deleted_at", allow_null=True)

    class Meta:
        model = Function
        fields = [
            "name",
            "runtime",
            "handler",
            "description",
            "tags",
            "memorySize",
            "timeout",
            "latestVersion",
            "createdBy",
            "createdAt",
            "updatedAt",
            "deletedAt",
        ]
        read_only_fields = fields


class FunctionOut(FunctionSummary):
    """A function whole."""

    environment = serializers.DictField(child=serializers.CharField())
    metadata = serializers.DictField(child=serializers.CharField())
    cpuShares = serializers.SerializerMethodField(
        "cpu_shares", help_text="1,024 is one full core's worth"
    )
    reservedConcurrency = serializers.IntegerField(source="reserved_concurrency", allow_null=True)
    maxInstances = serializers.IntegerField(source="max_instances")
    idleTimeout = serializers.IntegerField(source="idle_timeout_seconds")
    maxQueue = serializers.IntegerField(source="max_queue")
    idempotent = serializers.BooleanField(source="is_idempotent")
    aliases = AliasOut(many=True)

    class Meta(FunctionSummary.Meta):
        fields = [
            *FunctionSummary.Meta.fields,
            "environment",
            "metadata",
            "cpuShares",
            "reservedConcurrency",
            "maxInstances",
            "idleTimeout",
            "maxQueue",
            "idempotent",
            "aliases",
        ]
        read_only_fields = fields

    def cpu_shares(self, function: Function) -> int:
        return cpu_weight(function.memory_mib)


class VersionOut(serializers.ModelSerializer[FunctionVersion]):
    """A version."""

    version = _VersionNumber(source="number")
    functionName = serializers.CharField(source="function.name")
    memorySize = serializers.IntegerField(source="memory_mib")
    timeout = serializers.IntegerField(source="timeout_seconds")
    environment = serializers.DictField(child=serializers.CharField())
    codeSha256 = serializers.CharField(source="artifact.sha256")
    codeSize = serializers.IntegerField(source="artifact.size_bytes", help_text="bytes, packed")
    unpackedSize = serializers.IntegerField(source="artifact.unpacked_bytes", help_text="bytes")
    files = serializers.IntegerField(source="artifact.files")
    aliases = serializers.SerializerMethodField("alias_names")
    createdAt = serializers.DateTimeField(source="created_at")

    class Meta:
        model = FunctionVersion
        fields = [
            "version",
            "functionName",
            "runtime",
            "handler",
            "memorySize",
            "timeout",
            "environment",
            "codeSha256",
            "codeSize",
            "unpackedSize",
            "files",
            "aliases",
            "message",
            "author",
            "createdAt",
        ]
        read_only_fields = fields

    def alias_names(self, version: FunctionVersion) -> list[str]:
        return sorted({target.alias.name for target in version.alias_targets.all()})


class NewVersion(serializers.Serializer[Any]):
    """A new version in JSON. Without code it takes the newest version's."""

    zipFile = serializers.CharField(required=False, help_text="zip file as base64")
    code = serializers.JSONField(required=False, help_text="the same: base64, or {zipFile: base64}")
    files = serializers.DictField(
        child=serializers.CharField(allow_blank=True, allow_null=True, trim_whitespace=False),
        required=False,
        help_text="path -> text; with baseVersion null removes a file",
    )
    baseVersion = serializers.CharField(
        required=False, help_text="version whose other files stay, with `files`"
    )
    environment = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        required=False,
        help_text="replaces the function's environment from this version on",
    )
    message = serializers.CharField(required=False, allow_blank=True, max_length=MESSAGE_MAX)
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=MESSAGE_MAX, help_text="the same as message"
    )


class WeightIn(serializers.Serializer[Any]):
    """One share of an alias."""

    version = _VersionNumber()
    weight = serializers.IntegerField(
        min_value=1, max_value=limits.BASIS_POINTS, help_text="basis points"
    )


class AliasChanges(serializers.Serializer[Any]):
    """Where an alias leads: one `version`, or `versions` with weights that sum to 10,000."""

    version = _VersionNumber(required=False)
    versions = serializers.ListField(child=WeightIn(), required=False, max_length=TARGETS_MAX)
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=checks.DESCRIPTION_MAX
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Bring both forms to `weights`."""
        if "version" in attrs and "versions" in attrs:
            raise serializers.ValidationError("Give either version or versions.")
        if "version" in attrs:
            attrs["weights"] = {attrs["version"]: limits.BASIS_POINTS}
        elif "versions" in attrs:
            attrs["weights"] = {item["version"]: item["weight"] for item in attrs["versions"]}
            if len(attrs["weights"]) < len(attrs["versions"]):
                raise serializers.ValidationError({"versions": "A version is there twice."})
        return attrs


class NewAlias(AliasChanges):
    """A new alias."""

    name = serializers.CharField(max_length=64)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if "weights" not in attrs:
            raise serializers.ValidationError({"version": "Say where the alias leads."})
        return attrs


class FileOut(serializers.Serializer[Any]):
    """One file of a package. `text` is null for what an editor cannot show."""

    name = serializers.CharField()
    size = serializers.IntegerField(source="size_bytes", help_text="bytes")
    text = serializers.CharField(allow_null=True)


class FilesOut(serializers.Serializer[Any]):
    """The files of a version."""

    version = serializers.CharField()
    handler = serializers.CharField()
    files = FileOut(many=True)


class RuntimeOut(serializers.Serializer[Any]):
    """A runtime that functions can name."""

    name = serializers.CharField()
    language = serializers.CharField()
    version = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field, named as its base's attribute
    aliases = serializers.ListField(child=serializers.CharField())
    handlerExample = serializers.CharField(source="handler_example")
    endOfSupport = serializers.DateField(source="end_of_support")


class RuntimesOut(serializers.Serializer[Any]):
    """All runtimes."""

    items = RuntimeOut(many=True)
