"""Versions and aliases over HTTP."""

from typing import Any, ClassVar

from django.http import FileResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from functions import packages, selectors, storage
from functions.api import serializers, uploads
from functions.models import FunctionVersion
from functions.services import aliases, versions
from hotswap.api.concurrency import expected, tagged
from hotswap.api.pagination import CursorPages
from hotswap.api.views import ApiViewSet
from hotswap.core import clock
from hotswap.core.errors import NotFound

_UPLOAD = {
    "application/json": serializers.NewVersion,
    "application/zip": OpenApiTypes.BINARY,
    "multipart/form-data": {
        "type": "object",
        "properties": {
            "package": {"type": "string", "format": "binary"},
            "message": {"type": "string"},
        },
    },
}


class VersionViewSet(ApiViewSet):
    """Immutable versions of a function. `{version}` is `v3`, `3` or `$LATEST`."""

    scopes: ClassVar = {
        "list": "functions:read",
        "create": "functions:write",
        "retrieve": "functions:read",
        "destroy": "functions:write",
        "code": "functions:read",
        "files": "functions:read",
    }
    orders: ClassVar = {"-version": "-number", "createdAt": "created_at"}
    parser_classes = uploads.PARSERS
    serializer_class = serializers.VersionOut
    pagination_class = CursorPages

    @extend_schema(responses=serializers.VersionOut(many=True))
    def list(self, request: Request, name: str) -> Response:
        """List versions, newest first."""
        function = selectors.function_get(name=name)
        return self.page(selectors.version_list(function=function), serializers.VersionOut)

    @extend_schema(request=_UPLOAD, responses={201: serializers.VersionOut})
    def create(self, request: Request, name: str) -> Response:
        """Upload code as the next version; without code the newest version's is taken."""
        function = selectors.function_get(name=name)
        fields = uploads.version_fields(request)
        wanted: dict[str, Any] = {
            "name": name,
            "message": fields.get("message") or fields.get("description", ""),
            "changes": {key: fields[key] for key in ("environment",) if key in fields},
            "actor": self.actor,
            "now": clock.utc_now(),
        }

        with uploads.uploaded(request, fields, function) as package:
            if package is None:
                version = versions.version_publish(**wanted)
            else:
                version = versions.version_create(**wanted, package=package)

        response = self._shown(name, str(version.number), status=201)
        response["Location"] = f"{request.path}/v{version.number}"
        return response

    @extend_schema(responses=serializers.VersionOut)
    def retrieve(self, request: Request, name: str, version: str) -> Response:
        """Get a version."""
        return self._shown(name, version)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, name: str, version: str) -> Response:
        """Delete a version that no alias leads to."""
        versions.version_delete(name=name, version=version, actor=self.actor, now=clock.utc_now())
        return Response(status=204)

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def code(self, request: Request, name: str, version: str) -> HttpResponseBase:
        """Download a version's package."""
        row = self._version(name, version)
        try:
            file = storage.download(row.artifact_id)
        except FileNotFoundError:
            raise NotFound("The code of this version is not in the package store.") from None
        response = FileResponse(
            file,
            as_attachment=True,
            filename=f"{name}-v{row.number}.zip",
            content_type="application/zip",
        )
        response["Content-Length"] = str(row.artifact.size_bytes)
        response["ETag"] = f'"{row.artifact_id}"'
        return response

    @extend_schema(responses=serializers.FilesOut)
    def files(self, request: Request, name: str, version: str) -> Response:
        """List the files of a version, with the texts that an editor can show."""
        row = self._version(name, version)
        with packages.fetched(row.artifact_id) as path:
            files = packages.editable_files(path)
        shown = {"version": f"v{row.number}", "handler": row.handler, "files": files}
        return Response(serializers.FilesOut(shown).data)

    def _version(self, name: str, version: str) -> FunctionVersion:
        function = selectors.function_get(name=name)
        return selectors.version_get(function=function, version=version)

    def _shown(self, name: str, version: str, status: int = 200) -> Response:
        row = self._version(name, version)
        response = Response(serializers.VersionOut(row).data, status=status)
        response["ETag"] = f'"{row.pk}-{"-".join(response.data["aliases"])}"'
        return response


class AliasViewSet(ApiViewSet):
    """Names that lead to weighted versions."""

    scopes: ClassVar = {
        "list": "functions:read",
        "create": "functions:write",
        "retrieve": "functions:read",
        "update": "functions:write",
        "partial_update": "functions:write",
        "destroy": "functions:write",
    }
    orders: ClassVar = {"name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}
    serializer_class = serializers.AliasOut
    pagination_class = CursorPages

    @extend_schema(responses=serializers.AliasOut(many=True))
    def list(self, request: Request, name: str) -> Response:
        """List a function's aliases."""
        function = selectors.function_get(name=name)
        return self.page(selectors.alias_list(function=function), serializers.AliasOut)

    @extend_schema(request=serializers.NewAlias, responses={201: serializers.AliasOut})
    def create(self, request: Request, name: str) -> Response:
        """Make an alias."""
        command = serializers.NewAlias(data=request.data)
        command.is_valid(raise_exception=True)

        alias = aliases.alias_create(
            function_name=name,
            name=command.validated_data["name"],
            weights=command.validated_data["weights"],
            description=command.validated_data.get("description", ""),
            actor=self.actor,
            now=clock.utc_now(),
        )

        response = tagged(Response(serializers.AliasOut(alias).data, status=201), alias)
        response["Location"] = f"{request.path}/{alias.name}"
        return response

    @extend_schema(responses=serializers.AliasOut)
    def retrieve(self, request: Request, name: str, alias: str) -> Response:
        """Get an alias."""
        function = selectors.function_get(name=name)
        row = selectors.alias_get(function=function, name=alias)
        return tagged(Response(serializers.AliasOut(row).data), row)

    @extend_schema(request=serializers.AliasChanges, responses=serializers.AliasOut)
    def update(self, request: Request, name: str, alias: str) -> Response:
        """Move an alias: all weights change at one moment."""
        return self.partial_update(request, name, alias)

    @extend_schema(request=serializers.AliasChanges, responses=serializers.AliasOut)
    def partial_update(self, request: Request, name: str, alias: str) -> Response:
        """Move an alias, or change its description."""
        command = serializers.AliasChanges(data=request.data)
        command.is_valid(raise_exception=True)

        row = aliases.alias_update(
            function_name=name,
            name=alias,
            weights=command.validated_data.get("weights"),
            description=command.validated_data.get("description"),
            expected=expected(request),
            actor=self.actor,
            now=clock.utc_now(),
        )

        return tagged(Response(serializers.AliasOut(row).data), row)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, name: str, alias: str) -> Response:
        """Remove an alias; its versions stay."""
        aliases.alias_delete(
            function_name=name,
            name=alias,
            expected=expected(request),
            actor=self.actor,
            now=clock.utc_now(),
        )
        return Response(status=204)
