"""Functions over HTTP."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from functions import selectors
from functions.api import serializers, uploads
from functions.api.filters import FunctionFilter
from functions.models import Function
from functions.services import functions as services
from functions.services import versions
from functions.types import Configuration
from hotswap.api.concurrency import expected, tagged
from hotswap.api.pagination import CursorPages
from hotswap.api.views import ApiViewSet
from hotswap.core import clock

_OWN_FIELDS = ("name", "code", "files", "message")
_DELETED = OpenApiParameter(
    "deleted", OpenApiTypes.BOOL, description="those that wait to be purged, instead"
)
_ORDER = OpenApiParameter("order", OpenApiTypes.STR, description="name, createdAt or updatedAt")


class FunctionViewSet(ApiViewSet):
    """Functions and their configuration."""

    scopes: ClassVar = {
        "list": "functions:read",
        "create": "functions:write",
        "retrieve": "functions:read",
        "update": "functions:write",
        "partial_update": "functions:write",
        "destroy": "functions:write",
        "restore": "functions:write",
    }
    orders: ClassVar = {"name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}
    parser_classes = uploads.PARSERS[:1]
    serializer_class = serializers.FunctionSummary
    filter_backends: ClassVar = [DjangoFilterBackend]  # for the document; `list` filters itself
    filterset_class = FunctionFilter
    pagination_class = CursorPages

    def get_queryset(self) -> QuerySet[Function]:
        deleted = self.request.query_params.get("deleted", "").lower() in ("1", "true")
        return selectors.function_list(deleted=deleted)

    @extend_schema(
        responses=serializers.FunctionSummary(many=True),
        parameters=[_DELETED, _ORDER],
        filters=True,
    )
    def list(self, request: Request) -> Response:
        """List functions."""
        filters = FunctionFilter(request.query_params, queryset=self.get_queryset())
        if not filters.is_valid():
            raise ValidationError(filters.errors)
        return self.page(filters.qs, serializers.FunctionSummary)

    @extend_schema(request=serializers.NewFunction, responses={201: serializers.FunctionOut})
    def create(self, request: Request) -> Response:
        """Create a function, and version v1 when code comes along."""
        command = serializers.NewFunction(data=request.data)
        command.is_valid(raise_exception=True)
        fields = dict(command.validated_data)
        name = fields["name"]

        with uploads.uploaded(request, fields) as package:
            wanted = {
                "name": name,
                "configuration": Configuration(**_configuration(fields)),
                "actor": self.actor,
                "now": clock.utc_now(),
            }
            if package is None:
                services.function_create(**wanted)
            else:
                versions.function_create_with_code(
                    **wanted, package=package, message=fields.get("message", "")
                )

        response = self._shown(name, status=201)
        response["Location"] = f"{request.path.rstrip('/')}/{name}"
        return response

    @extend_schema(responses=serializers.FunctionOut)
    def retrieve(self, request: Request, name: str) -> Response:
        """Get a function with its aliases."""
        return self._shown(name)

    @extend_schema(request=serializers.FunctionReplacement, responses=serializers.FunctionOut)
    def update(self, request: Request, name: str) -> Response:
        """Replace a function's configuration; fields left out go back to their defaults."""
        command = serializers.FunctionReplacement(data=request.data)
        command.is_valid(raise_exception=True)
        whole = Configuration(**_configuration(command.validated_data))
        return self._changed(name, {field: getattr(whole, field) for field in whole.__slots__})

    @extend_schema(request=serializers.FunctionChanges, responses=serializers.FunctionOut)
    def partial_update(self, request: Request, name: str) -> Response:
        """Change some of a function's configuration; it takes effect with the next version."""
        command = serializers.FunctionChanges(data=request.data)
        command.is_valid(raise_exception=True)
        return self._changed(name, _configuration(command.validated_data))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        """Delete a function. It can be restored for some time."""
        services.function_delete(
            name=name, expected=expected(request), actor=self.actor, now=clock.utc_now()
        )
        return Response(status=204)

    @extend_schema(request=None, responses=serializers.FunctionOut)
    def restore(self, request: Request, name: str) -> Response:
        """Put a deleted function back into service."""
        services.function_restore(name=name, actor=self.actor, now=clock.utc_now())
        return self._shown(name)

    def _changed(self, name: str, changes: dict[str, Any]) -> Response:
        services.function_update(
            name=name,
            changes=changes,
            expected=expected(self.request),
            actor=self.actor,
            now=clock.utc_now(),
        )
        return self._shown(name)

    def _shown(self, name: str, status: int = 200) -> Response:
        function = selectors.function_get(name=name)
        return tagged(Response(serializers.FunctionOut(function).data, status=status), function)


def _configuration(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that belong to `Configuration`."""
    found = {name: value for name, value in fields.items() if name not in _OWN_FIELDS}
    if "tags" in found:
        found["tags"] = tuple(found["tags"])
    return found
