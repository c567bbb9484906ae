"""What the OpenAPI document says about every operation: problems, scopes, bearer tokens."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from hotswap.api.permissions import PUBLIC


class FieldError(serializers.Serializer[Any]):
    """One fault of one field."""

    field = serializers.CharField()
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """RFC 9457 problem document."""

    type = serializers.CharField(help_text="Names the kind of problem: /problems/<slug>.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What, why, and what to do.")
    instance = serializers.CharField(help_text="Id of this request, as in X-Request-Id.")
    fault = serializers.ChoiceField(choices=["caller", "function", "platform"])
    retryable = serializers.BooleanField()
    errors = FieldError(many=True, required=False)  # type: ignore[assignment]  # a member's name


class ProblemAutoSchema(AutoSchema):
    """Adds the problem document to every operation, and its scope to the description."""

    def _get_response_bodies(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(*args, **kwargs)
        bodies["default"] = {
            **self._get_response_for_code(  # type: ignore[no-untyped-call]  # ships no types
                Problem, "default", ["application/problem+json"]
            ),
            "description": "A problem.",
        }
        return bodies

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular's signature
        text = super().get_description() or ""
        scope = getattr(self.view, "scopes", {}).get(getattr(self.view, "action", None))
        return text if scope in (None, PUBLIC) else f"{text}\n\nScope: `{scope}`.".strip()


class BearerScheme(OpenApiAuthenticationExtension):
    """Access tokens and personal access tokens."""

    target_class = "hotswap.access.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "Access token or hs_… token."}


class SessionScheme(OpenApiAuthenticationExtension):
    """The portal's own session; unsafe methods need the CSRF token."""

    target_class = "hotswap.access.authentication.BrowserSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "session"}
