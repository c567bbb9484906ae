"""Invocations, metrics, logs and runners over HTTP."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from functions import selectors as functions
from hotswap.api.pagination import CursorPages
from hotswap.api.views import ApiViewSet
from hotswap.core import clock
from runners.api.serializers import (
    InvocationDetailSerializer,
    InvocationQuery,
    InvocationSerializer,
    LogLinesQuery,
    LogPageSerializer,
    MetricsQuery,
    MetricsSerializer,
    RunnerDetailSerializer,
    RunnerSerializer,
)
from runners.models import InvocationRecord
from runners.selectors import invocations, logs, metrics, nodes
from runners.types import LogPage, LogQuery

if TYPE_CHECKING:
    from functions.models import Function

METRICS_SPAN = timedelta(hours=1)


class InvocationViewSet(ApiViewSet):
    """Calls of a function that were recorded one by one."""

    scopes = {
        "list": "invocations:read",
        "retrieve": "invocations:read",
        "logs": "invocations:read",
    }
    orders = {"-endedAt": "-ended_at"}

    @extend_schema(
        operation_id="invocations_list",
        parameters=[InvocationQuery],
        responses=InvocationSerializer(many=True),
    )
    def list(self, request: Request, name: str) -> Response:
        """Recorded invocations, newest first."""
        function = functions.function_get(name=name)
        records = _filtered(
            invocations.invocation_list(function_id=function.id),
            _asked(InvocationQuery, request),
            function,
        )
        pages = CursorPages()
        page = pages.paginate_queryset(records, request, view=self)
        shown = InvocationSerializer(page, many=True, context=_versions(page))
        return pages.get_paginated_response(list(shown.data))

    @extend_schema(operation_id="invocations_retrieve", responses=InvocationDetailSerializer)
    def retrieve(self, request: Request, name: str, request_id: str) -> Response:
        """One invocation by its request id, with the error that it ended in."""
        function = functions.function_get(name=name)
        record = invocations.invocation_get(function_id=function.id, request_id=request_id)
        return Response(InvocationDetailSerializer(record, context=_versions([record])).data)

    @extend_schema(
        operation_id="invocations_logs", parameters=[LogLinesQuery], responses=LogPageSerializer
    )
    def logs(self, request: Request, name: str, request_id: str) -> Response:
        """The lines that one invocation left; also of calls without a record."""
        function = functions.function_get(name=name)
        if not logs.log_exists(function_id=function.id, request_id=request_id):
            invocations.invocation_get(function_id=function.id, request_id=request_id)
        return Response(LogPageSerializer(_page(request, function.id, request_id)).data)


class LogViewSet(ApiViewSet):
    """What a function printed."""

    scopes = {"list": "invocations:read"}

    @extend_schema(
        operation_id="logs_list", parameters=[LogLinesQuery], responses=LogPageSerializer
    )
    def list(self, request: Request, name: str) -> Response:
        """Lines above `after`, below `before`, or the newest."""
        function = functions.function_get(name=name)
        return Response(LogPageSerializer(_page(request, function.id)).data)


class MetricsViewSet(ApiViewSet):
    """Figures of a function over time; exact, whatever was recorded one by one."""

    scopes = {"retrieve": "functions:read"}

    @extend_schema(
        operation_id="metrics_retrieve", parameters=[MetricsQuery], responses=MetricsSerializer
    )
    def retrieve(self, request: Request, name: str) -> Response:
        """Invocations, errors, cold starts and latency per step, by version and in total."""
        function = functions.function_get(name=name)
        asked = _asked(MetricsQuery, request)
        end = asked.get("end", clock.utc_now())
        found = metrics.function_metrics(
            function_id=function.id,
            start=asked.get("start", end - METRICS_SPAN),
            end=end,
            step=timedelta(seconds=asked["step"]) if "step" in asked else None,
            version=_number(function, asked),
        )
        return Response(MetricsSerializer(found).data)


class RunnerViewSet(ApiViewSet):
    """Machines that run functions."""

    scopes = {"list": "runners:read", "retrieve": "runners:read"}

    @extend_schema(operation_id="runners_list", responses=RunnerSerializer(many=True))
    def list(self, request: Request) -> Response:
        """All runners, also those that fell silent within the last day."""
        rows = nodes.node_list(now=clock.utc_now())
        items = RunnerSerializer(rows, many=True).data
        return Response({"items": items, "next": None, "previous": None})

    @extend_schema(operation_id="runners_retrieve", responses=RunnerDetailSerializer)
    def retrieve(self, request: Request, name: str) -> Response:
        """One runner with its instances."""
        return Response(RunnerDetailSerializer(nodes.node_get(name=name, now=clock.utc_now())).data)


def _asked(query: type[Any], request: Request) -> dict[str, Any]:
    """The query's parameters; raises ValidationError."""
    asked = query(data=request.query_params)
    asked.is_valid(raise_exception=True)
    given: dict[str, Any] = asked.validated_data
    return given


def _filtered(
    records: QuerySet[InvocationRecord], asked: dict[str, Any], function: "Function"
) -> QuerySet[InvocationRecord]:
    """The records that match everything asked."""
    conditions = {
        "outcome": Q(outcome=asked.get("outcome")),
        "alias": Q(alias=asked.get("alias")),
        "cold": Q(cold=asked.get("cold")),
        "start": Q(ended_at__gte=asked.get("start")),
        "end": Q(ended_at__lt=asked.get("end")),
        "search": Q(request_id__startswith=asked.get("search")),
    }
    wanted = [condition for name, condition in conditions.items() if asked.get(name) is not None]
    if "status" in asked:
        wanted.append(Q(outcome="ok") if asked["status"] == "succeeded" else ~Q(outcome="ok"))
    if "version" in asked:
        wanted.append(
            Q(version_id=functions.version_get(function=function, version=asked["version"]).id)
        )
    return records.filter(*wanted)


def _number(function: "Function", asked: dict[str, Any]) -> int | None:
    """Number of the version that was asked for."""
    if "version" not in asked:
        return None
    return functions.version_get(function=function, version=asked["version"]).number


def _versions(records: list[InvocationRecord] | None) -> dict[str, Any]:
    ids = {record.version_id for record in records or ()}
    return {"versions": invocations.version_numbers(version_ids=ids)}


def _page(request: Request, function_id: int, request_id: str = "") -> LogPage:
    query = LogLinesQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    asked, wanted = query.validated_data, query.wanted()
    if request_id:
        wanted = LogQuery(wanted.levels, request_id, wanted.text)
    if "after" in asked:
        return logs.log_after(
            function_id=function_id, after=asked["after"], limit=asked["limit"], query=wanted
        )
    return logs.log_before(
        function_id=function_id, before=asked.get("before"), limit=asked["limit"], query=wanted
    )
