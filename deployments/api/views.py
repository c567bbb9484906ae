"""Deployments over HTTP."""

import hashlib
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from deployments import forecast, selectors
from deployments.api import serializers
from deployments.api.filters import DeploymentFilter
from deployments.models import Attempt, Deployment
from deployments.services import approvals, commands, deployments
from deployments.services.observation import alias_now
from deployments.states import Command
from deployments.strategies.ab_testing import candidate_of
from deployments.strategies.base import plan_load, settings_in, strategy_named
from deployments.types import Strategy
from functions import selectors as functions
from hotswap.api.pagination import CursorPages
from hotswap.api.views import ApiViewSet
from hotswap.core import clock
from hotswap.core.errors import InvalidInput, NotFound
from hotswap.wire.rollouts import WINDOW_SECONDS

READ, WRITE, APPROVE = "deployments:read", "deployments:write", "deployments:approve"

_ORDER = OpenApiParameter("order", OpenApiTypes.STR, description="createdAt; -createdAt by itself")
_ATTEMPT = OpenApiParameter("attempt", OpenApiTypes.INT, description="number; the newest by itself")


def _takes(command: Command, words: type[Serializer[Any]]) -> Any:
    """Documents a command."""
    responses: dict[int, Any] = {200: serializers.DeploymentOut}
    if command is Command.ROLLBACK:
        text = "It was over; another deployment brings the old version back."
        responses[201] = OpenApiResponse(serializers.DeploymentOut, text)
    name = f"deployments_{command.replace('-', '_')}"
    return extend_schema(operation_id=name, request=words, responses=responses)


class DeploymentViewSet(ApiViewSet):
    """Deployments, and what persons may ask of them."""

    scopes: ClassVar = {
        "list": READ,
        "create": WRITE,
        "preview": READ,
        "retrieve": READ,
        "evidence": READ,
        "promote": WRITE,
        "promote_full": WRITE,
        "pause": WRITE,
        "resume": WRITE,
        "abort": WRITE,
        "rollback": WRITE,
        "retry": WRITE,
        "approve": APPROVE,
        "reject": APPROVE,
    }
    orders: ClassVar = {"-createdAt": "-created_at"}
    serializer_class = serializers.DeploymentSummary
    filter_backends: ClassVar = [DjangoFilterBackend]  # for the document; `list` filters itself
    filterset_class = DeploymentFilter
    pagination_class = CursorPages

    def get_queryset(self) -> QuerySet[Deployment]:
        return selectors.deployment_list()

    @extend_schema(
        responses=serializers.DeploymentSummary(many=True), parameters=[_ORDER], filters=True
    )
    def list(self, request: Request) -> Response:
        """List deployments, newest first."""
        filters = DeploymentFilter(request.query_params, queryset=self.get_queryset())
        if not filters.is_valid():
            raise ValidationError(filters.errors)
        pages = CursorPages()
        page: list[Deployment] = pages.paginate_queryset(filters.qs, request, view=self) or []
        rows = [serializers.Shown(row, selectors.attempt_current(row)) for row in page]
        shown = serializers.DeploymentSummary(rows, many=True)
        return pages.get_paginated_response(list(shown.data))

    @extend_schema(
        request=serializers.NewDeployment,
        responses={200: serializers.PlanOut, 201: serializers.DeploymentOut},
    )
    def create(self, request: Request) -> Response:
        """Deploy a version. With `dryRun` nothing is written, and the plan is the answer."""
        given = _given(request)
        if given.pop("dryRun"):
            return self._planned(given)
        made = deployments.deployment_create(
            **_wanted(given), actor=self.actor, now=clock.utc_now()
        )
        return self._made(made.id)

    @extend_schema(
        operation_id="deployments_preview",
        request=serializers.NewDeployment,
        responses=serializers.PlanOut,
    )
    def preview(self, request: Request) -> Response:
        """Compile the steps of a deployment and forecast how soon harm is found. Writes nothing."""
        given = _given(request)
        given.pop("dryRun")
        return self._planned(given)

    @extend_schema(responses=serializers.DeploymentOut)
    def retrieve(self, request: Request, deployment_id: UUID) -> Response:
        """Get a deployment: where it stands, why, and what may be asked of it."""
        return self._shown(deployment_id)

    @extend_schema(
        operation_id="deployments_evidence",
        parameters=[_ATTEMPT],
        responses=serializers.EvidenceOut,
    )
    def evidence(self, request: Request, deployment_id: UUID) -> Response:
        """Calls, failures and latencies of both versions over time."""
        attempt = _attempt(deployment_id, request.query_params.get("attempt"))
        found = {
            "attempt": attempt.number,
            "windowSeconds": WINDOW_SECONDS,
            "limits": plan_load(attempt.deployment.plan).limits,
            "versions": selectors.series(attempt),
        }
        return Response(serializers.EvidenceOut(found).data)

    @_takes(Command.PROMOTE, serializers.CommandIn)
    def promote(self, request: Request, deployment_id: UUID) -> Response:
        """Go on to the next step now."""
        return self._command(deployment_id, Command.PROMOTE, serializers.CommandIn)

    @_takes(Command.PROMOTE_FULL, serializers.PromoteFullIn)
    def promote_full(self, request: Request, deployment_id: UUID) -> Response:
        """Send everything to the new version now. Wants a reason."""
        return self._command(deployment_id, Command.PROMOTE_FULL, serializers.PromoteFullIn)

    @_takes(Command.PAUSE, serializers.CommandIn)
    def pause(self, request: Request, deployment_id: UUID) -> Response:
        """Stop the clock; the guards stay on."""
        return self._command(deployment_id, Command.PAUSE, serializers.CommandIn)

    @_takes(Command.RESUME, serializers.CommandIn)
    def resume(self, request: Request, deployment_id: UUID) -> Response:
        """Let the clock go on where it stood."""
        return self._command(deployment_id, Command.RESUME, serializers.CommandIn)

    @_takes(Command.ABORT, serializers.CommandIn)
    def abort(self, request: Request, deployment_id: UUID) -> Response:
        """End the deployment; calls go back to the old version."""
        return self._command(deployment_id, Command.ABORT, serializers.CommandIn)

    @_takes(Command.ROLLBACK, serializers.CommandIn)
    def rollback(self, request: Request, deployment_id: UUID) -> Response:
        """Bring the old version back, also after promotion."""
        return self._command(deployment_id, Command.ROLLBACK, serializers.CommandIn)

    @_takes(Command.RETRY, serializers.CommandIn)
    def retry(self, request: Request, deployment_id: UUID) -> Response:
        """Try again, with evidence of its own."""
        return self._command(deployment_id, Command.RETRY, serializers.CommandIn)

    @_takes(Command.APPROVE, serializers.WordIn)
    def approve(self, request: Request, deployment_id: UUID) -> Response:
        """Say yes to what you saw; never to a deployment of your own."""
        return self._word(deployment_id, is_approved=True)

    @_takes(Command.REJECT, serializers.WordIn)
    def reject(self, request: Request, deployment_id: UUID) -> Response:
        """Say no; one no is enough."""
        return self._word(deployment_id, is_approved=False)

    def _command(
        self, deployment_id: UUID, command: Command, words: type[Serializer[Any]]
    ) -> Response:
        said = words(data=self.request.data)
        said.is_valid(raise_exception=True)
        attempt = commands.command_give(
            deployment_id=deployment_id,
            command=command,
            reason=said.validated_data["reason"],
            actor=self.actor,
            now=clock.utc_now(),
        )
        if attempt.deployment_id != deployment_id:
            return self._made(attempt.deployment_id)
        return self._shown(deployment_id)

    def _word(self, deployment_id: UUID, *, is_approved: bool) -> Response:
        said = serializers.WordIn(data=self.request.data)
        said.is_valid(raise_exception=True)
        approvals.approval_give(
            deployment_id=deployment_id,
            is_approved=is_approved,
            digest=said.validated_data["digest"],
            comment=said.validated_data["reason"],
            actor=self.actor,
            now=clock.utc_now(),
        )
        return self._shown(deployment_id)

    def _planned(self, given: dict[str, Any]) -> Response:
        now = clock.utc_now()
        wanted = _wanted(given)
        found = deployments.deployment_preview(**wanted, actor=self.actor, now=now)
        function = functions.function_get(name=wanted["function_name"])
        expected = forecast.forecast(
            plan=found.plan, function_id=function.id, created_at=function.created_at, now=now
        )
        shown = serializers.Planned(function.name, wanted["strategy"], found, expected)
        return Response(serializers.PlanOut(shown).data)

    def _made(self, deployment_id: UUID) -> Response:
        response = self._shown(deployment_id, status=201)
        response["Location"] = reverse("api-deployment", args=[deployment_id])
        return response

    def _shown(self, deployment_id: UUID, status: int = 200) -> Response:
        deployment = selectors.deployment_get(deployment_id)
        attempt = selectors.attempt_current(deployment)
        whole = serializers.Whole(
            deployment,
            attempt,
            commands=selectors.commands_allowed(attempt),
            approvals=approvals.approval_state(deployment=deployment),
            counts=selectors.counts(attempt),
            attempts=list(deployment.attempts.all()),
            links=_links(deployment),
        )
        response = Response(serializers.DeploymentOut(whole).data, status=status)
        response["ETag"] = f'"{_tag(response.data)}"'
        return response


class EventViewSet(ApiViewSet):
    """What happened to a deployment."""

    scopes: ClassVar = {"list": READ}
    orders: ClassVar = {"at": "at", "-at": "-at"}
    serializer_class = serializers.EventOut
    pagination_class = CursorPages

    @extend_schema(
        operation_id="deployments_events_list",
        parameters=[OpenApiParameter("order", OpenApiTypes.STR, description="at or -at")],
        responses=serializers.EventOut(many=True),
    )
    def list(self, request: Request, deployment_id: UUID) -> Response:
        """List what happened, oldest first, over all attempts."""
        deployment = selectors.deployment_get(deployment_id)
        return self.page(selectors.events_of(deployment), serializers.EventOut)


def _given(request: Request) -> dict[str, Any]:
    """The checked request, with its settings under `config`."""
    command = serializers.NewDeployment(data=request.data)
    command.is_valid(raise_exception=True)
    return {**command.validated_data, "config": settings_in(dict(request.data))}


def _wanted(given: dict[str, Any]) -> dict[str, Any]:
    """What the services take; the version of an A/B test is the arm that is not served now."""
    strategy = strategy_named(given["strategy"])
    return {
        "function_name": given["functionName"],
        "version": given.get("version") or _other_arm(given, strategy),
        "strategy": strategy,
        "config": given["config"],
        "alias": given["alias"],
        "message": given.get("message", ""),
        "reversible": given["reversible"],
    }


def _other_arm(given: dict[str, Any], strategy: Strategy) -> str:
    if strategy is not Strategy.AB_TESTING:
        message = "Say which version, such as v5 or $LATEST."
        raise InvalidInput(f"version: {message}", errors=[{"field": "version", "message": message}])
    function = functions.function_get(name=given["functionName"])
    stable = alias_now(function=function, alias=given["alias"]).number
    return str(candidate_of(given["config"], stable))


def _attempt(deployment_id: UUID, number: str | None) -> Attempt:
    deployment = selectors.deployment_get(deployment_id)
    if number is None:
        return selectors.attempt_current(deployment)
    found = [item for item in deployment.attempts.all() if str(item.number) == number]
    if not found:
        raise NotFound(f"This deployment has no attempt {number[:10]}.")
    return found[0]


def _links(deployment: Deployment) -> dict[str, str]:
    here = reverse("api-deployment", args=[deployment.id])
    root = reverse("api-deployments").removesuffix("deployments")
    parts = ("events", "evidence", "readings", "comparison")
    return {
        "self": here,
        "function": f"{root}functions/{deployment.function.name}",
        **{name: f"{here}/{name}" for name in parts},
    }


def _tag(document: Any) -> str:
    """Changes with every word of the answer: evidence comes in without a change of any row."""
    return hashlib.sha256(repr(document).encode()).hexdigest()[:32]
