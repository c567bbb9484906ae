"""Environments, freezes and metrics over HTTP."""

from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from deployments.api import rules_serializers as serializers
from deployments.models import FreezeWindow
from deployments.rules import Rules
from deployments.services import business, environments, freezes, sources
from hotswap.api.concurrency import expected, tagged
from hotswap.api.pagination import CursorPages
from hotswap.api.permissions import SESSION_SCOPE, granted
from hotswap.api.views import ApiViewSet
from hotswap.core import clock

WRITE = "deployments:write"


class EnvironmentViewSet(ApiViewSet):
    """Rules for all deployments to the aliases of one name."""

    scopes: ClassVar = {
        "list": "deployments:read",
        "retrieve": "deployments:read",
        "update": WRITE,
    }

    @extend_schema(responses=serializers.EnvironmentsOut)
    def list(self, request: Request) -> Response:
        """List the environments whose rules somebody set; the others have their defaults."""
        rows = environments.environment_list()
        return Response({"items": [self._shown(environments.rules_of(row)) for row in rows]})

    @extend_schema(responses=serializers.EnvironmentOut)
    def retrieve(self, request: Request, name: str) -> Response:
        """Get an environment's rules: those that were set, or its defaults."""
        row = environments.environment_find(name=name)
        if row is None:
            return Response(self._shown(Rules.for_name(name)))
        return tagged(Response(self._shown(environments.rules_of(row))), row)

    @extend_schema(request=serializers.EnvironmentChanges, responses=serializers.EnvironmentOut)
    def update(self, request: Request, name: str) -> Response:
        """Set an environment's rules; what is left out gets its default."""
        command = serializers.EnvironmentChanges(data=request.data)
        command.is_valid(raise_exception=True)

        row = environments.environment_put(
            name=name,
            changes=command.validated_data,
            expected=expected(request),
            actor=self.actor,
            now=clock.utc_now(),
        )

        return tagged(Response(self._shown(environments.rules_of(row))), row)

    def _shown(self, rules: Rules) -> object:
        """The path of a webhook's URL is often its password: only writers see it."""
        is_writer = bool(granted(self.request) & {WRITE, SESSION_SCOPE})
        return serializers.EnvironmentOut(rules, context={"is_masked": not is_writer}).data


class HookSecretViewSet(ApiViewSet):
    """What signs the hooks of an environment."""

    scopes: ClassVar = {"retrieve": WRITE, "create": WRITE}
    is_repeatable = False

    @extend_schema(responses=serializers.HookSecretOut)
    def retrieve(self, request: Request, name: str) -> Response:
        """Show the secret, for the receiver's configuration."""
        return self._answer(environments.hook_secret(name=name))

    @extend_schema(request=None, responses={201: serializers.HookSecretOut})
    def create(self, request: Request, name: str) -> Response:
        """Make the secret anew. Calls are signed with it from now on."""
        secret = environments.hook_secret_renew(name=name, actor=self.actor, now=clock.utc_now())
        return self._answer(secret, status=201)

    def _answer(self, secret: str, status: int = 200) -> Response:
        return Response({"secret": secret}, status=status, headers={"Cache-Control": "no-store"})


class FreezeViewSet(ApiViewSet):
    """Times in which deployments neither start nor advance."""

    scopes: ClassVar = {
        "list": "deployments:read",
        "create": WRITE,
        "retrieve": "deployments:read",
        "destroy": WRITE,
    }
    orders: ClassVar = {"-startsAt": "-starts_at", "endsAt": "ends_at"}
    serializer_class = serializers.FreezeOut
    pagination_class = CursorPages

    def get_queryset(self) -> QuerySet[FreezeWindow]:
        return freezes.freeze_list(environment=self.request.query_params.get("environment"))

    @extend_schema(
        responses=serializers.FreezeOut(many=True),
        parameters=[
            OpenApiParameter("environment", OpenApiTypes.STR, description="those that hold it")
        ],
    )
    def list(self, request: Request) -> Response:
        """List freeze windows, ended ones too."""
        return self.page(self.get_queryset(), serializers.FreezeOut)

    @extend_schema(request=serializers.NewFreeze, responses={201: serializers.FreezeOut})
    def create(self, request: Request) -> Response:
        """Announce a freeze. Rollouts under way hold when it begins; rolling back always may."""
        command = serializers.NewFreeze(data=request.data)
        command.is_valid(raise_exception=True)
        given, now = command.validated_data, clock.utc_now()

        window = freezes.freeze_create(
            environment=given["environment"],
            starts_at=given.get("startsAt", now),
            ends_at=given["endsAt"],
            reason=given["reason"],
            actor=self.actor,
            now=now,
        )

        response = Response(serializers.FreezeOut(window).data, status=201)
        response["Location"] = f"{request.path}/{window.id}"
        return response

    @extend_schema(responses=serializers.FreezeOut)
    def retrieve(self, request: Request, freeze_id: int) -> Response:
        """Get a freeze window."""
        return Response(serializers.FreezeOut(freezes.freeze_get(freeze_id=freeze_id)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, freeze_id: int) -> Response:
        """End a freeze now; one that has not begun is removed."""
        freezes.freeze_end(freeze_id=freeze_id, actor=self.actor, now=clock.utc_now())
        return Response(status=204)


class MetricViewSet(ApiViewSet):
    """Business metrics, reported by programs."""

    scopes: ClassVar = {"create": WRITE}

    @extend_schema(request=serializers.NewValues, responses=serializers.AddedOut)
    def create(self, request: Request, metric: str) -> Response:
        """Report values for units or calls of a test; the first value of each counts."""
        command = serializers.NewValues(data=request.data)
        command.is_valid(raise_exception=True)
        given = command.validated_data

        added = business.values_add(
            metric=metric,
            values=given["new"],
            deployment_id=given.get("deployment_id"),
            function_name=given.get("function_name", ""),
            alias=given["alias"],
            now=clock.utc_now(),
        )

        return Response(serializers.AddedOut(added).data)


class DeploymentRulesViewSet(ApiViewSet):
    """What sources and programs have said of one deployment."""

    scopes: ClassVar = {
        "readings": "deployments:read",
        "comparison": "deployments:read",
    }

    @extend_schema(responses=serializers.ReadingsOut)
    def readings(self, request: Request, deployment_id: UUID) -> Response:
        """The external metrics and what they last said."""
        found = sources.readings_get(deployment_id=deployment_id, now=clock.utc_now())
        return Response(serializers.ReadingsOut({"items": found}).data)

    @extend_schema(responses=serializers.ComparisonOut)
    def comparison(self, request: Request, deployment_id: UUID) -> Response:
        """Compare the business metrics of both versions."""
        report = business.report(deployment_id=deployment_id)
        return Response(serializers.ComparisonOut(report).data)
