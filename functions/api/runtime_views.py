"""Runtimes over HTTP."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from functions.api import serializers
from hotswap.api.views import ApiViewSet
from runtimes import catalog


class RuntimeViewSet(ApiViewSet):
    """What functions can be written in."""

    scopes: ClassVar = {"list": "functions:read"}

    @extend_schema(responses=serializers.RuntimesOut, operation_id="runtimes_list")
    def list(self, request: Request) -> Response:
        """List all runtimes."""
        runtimes = list(catalog.all_runtimes().values())
        return Response(serializers.RuntimesOut({"items": runtimes}).data)
