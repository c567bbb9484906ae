"""The page of one function, a view per tab."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from deployments import selectors as deployments
from functions import checks
from functions import selectors as functions
from functions.types import Configuration
from hotswap import config
from hotswap.core import clock, limits
from hotswap.core.errors import NotFound
from hotswap.dashboard import selectors
from hotswap.dashboard.deployment_pages import row_of
from hotswap.dashboard.guard import draw, page
from hotswap.dashboard.paging import page_of
from runners.selectors import invocations, logs, nodes
from runners.types import LogQuery
from runtimes import catalog

TABS = (
    ("function", "Code & test"),
    ("function-versions", "Versions & aliases"),
    ("function-invocations", "Invocations"),
    ("function-logs", "Logs"),
    ("function-metrics", "Metrics"),
    ("function-configuration", "Configuration"),
)
SPANS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
VERSION_FIELDS = ("runtime", "handler", "memory_mib", "timeout_seconds", "environment")
LOG_LINES = 500
CHARTS = (
    ("invocations", "Invocations"),
    ("errors", "Failed"),
    ("latency", "Time at the gateway"),
    ("cold", "Cold starts"),
)


def _frame(name: str, tab: str) -> dict[str, Any]:
    """What every tab shows: the function's head and the tabs."""
    function = functions.function_get(name=name)
    running = deployments.rollouts_by_alias(function_ids=[function.id])
    return {
        "section": "functions",
        "function": function,
        "aliases": list(function.aliases.all()),
        "rollouts": [
            row_of(attempt.deployment, attempt, function=name) for attempt in running.values()
        ],
        "tabs": [(each, title, reverse(each, args=[name])) for each, title in TABS],
        "tab": tab,
    }


@page
@ensure_csrf_cookie
@require_GET
def code(request: HttpRequest, name: str) -> HttpResponseBase:
    """Editor and test panel; the files come by script from the API."""
    frame = _frame(name, "function")
    function = frame["function"]
    versions = functions.version_list(function=function).order_by("-number")[:50]
    events = [
        {"name": event.name, "payload": event.payload}
        for event in selectors.test_events(function_id=function.id)
    ]
    setup = {
        "function": name,
        "latest": function.latest_number,
        "version": request.GET.get("version", "$LATEST"),
        "handler": function.handler,
        "timeout": function.timeout_seconds,
        "events": events,
        "gateway": config.current().gateway.url,
    }
    context = frame | {"versions": versions, "setup": setup}
    return draw(request, "portal/function/code.html", context)


@page
@require_GET
def versions(request: HttpRequest, name: str) -> HttpResponseBase:
    """Versions, aliases, and what may be done with them."""
    frame = _frame(name, "function-versions")
    found = functions.version_list(function=frame["function"]).defer("environment")
    part = page_of(found, order=("-number", "-id"), cursor=request.GET.get("cursor", ""))
    numbers = [version.number for version in found.order_by("-number")[:100]]
    rolling = {row.alias: row for row in frame["rollouts"]}
    context = frame | {
        "rows": part.rows,
        "next": part.next_cursor,
        "cards": [(alias, rolling.get(alias.name)) for alias in frame["aliases"]],
        "setup": {
            "function": name,
            "versions": numbers,
            "aliases": [_alias(alias) for alias in frame["aliases"]],
        },
    }
    return draw(request, "portal/function/versions.html", context)


def _alias(alias: Any) -> dict[str, object]:
    targets = [[t.version.number, t.weight_bps] for t in alias.targets.all()]
    return {"name": alias.name, "description": alias.description, "targets": targets}


@page
@require_GET
def invocation_list(request: HttpRequest, name: str) -> HttpResponseBase:
    """Recorded calls, newest first."""
    frame, query = _frame(name, "function-invocations"), request.GET
    found = invocations.invocation_list(function_id=frame["function"].id)
    if query.get("outcome") == "failed":
        found = found.exclude(outcome="ok")
    part = page_of(found, order=invocations.NEWEST_FIRST, cursor=query.get("cursor", ""))
    numbers = invocations.version_numbers(version_ids=[row.version_id for row in part.rows])
    context = frame | {
        "rows": [(row, numbers.get(row.version_id)) for row in part.rows],
        "next": part.next_cursor,
        "is_first": "cursor" not in query,
        "outcome": query.get("outcome", ""),
    }
    return draw(
        request,
        "portal/function/invocations.html",
        context,
        partial="portal/function/_invocations.html",
    )


@page
@require_GET
def invocation(request: HttpRequest, name: str, request_id: str) -> HttpResponseBase:
    """One call with its split and its log."""
    frame = _frame(name, "function-invocations")
    function_id = frame["function"].id
    record = invocations.invocation_get(function_id=function_id, request_id=request_id)
    lines = logs.log_after(
        function_id=function_id, after=0, limit=LOG_LINES, query=LogQuery(request_id=request_id)
    )
    numbers = invocations.version_numbers(version_ids=[record.version_id])
    context = frame | {
        "record": record,
        "number": numbers.get(record.version_id),
        "lines": lines.lines,
        "has_more": not lines.at_end,
    }
    return draw(request, "portal/function/invocation.html", context)


@page
@require_GET
def log(request: HttpRequest, name: str) -> HttpResponseBase:
    """The live log; lines come by websocket."""
    frame = _frame(name, "function-logs")
    context = frame | {"setup": {"function": name}, "retention": config.current().retention}
    return draw(request, "portal/function/logs.html", context)


@page
@require_GET
def metrics(request: HttpRequest, name: str) -> HttpResponseBase:
    """Charts; their figures come by script from the API."""
    frame = _frame(name, "function-metrics")
    span = request.GET.get("span", "1h")
    if span not in SPANS:
        raise NotFound(f"There is no span {span!r}; choose one of {', '.join(SPANS)}.")
    setup = {"function": name, "seconds": int(SPANS[span].total_seconds())}
    instances = nodes.instance_list(function=name, now=clock.utc_now())
    context = frame | {
        "span": span,
        "spans": SPANS,
        "setup": setup,
        "instances": instances,
        "charts": CHARTS,
    }
    return draw(request, "portal/function/metrics.html", context)


@page
@require_GET
def configuration(request: HttpRequest, name: str) -> HttpResponseBase:
    """Settings: what the next version takes, what is live at once, and deletion."""
    frame = _frame(name, "function-configuration")
    function = frame["function"]
    newest = functions.versions_newest(function_ids=[function.id]).get(function.id)
    context = frame | {
        "settings": functions.configuration_of(function),
        "newest": newest,
        "waiting": _waiting(function, newest),
        "runtimes": catalog.all_runtimes().values(),
        "bounds": checks.BOUNDS,
        "memory_step": limits.MEMORY_STEP_MIB,
        "environment_max": limits.ENVIRONMENT_MAX_BYTES,
        "defaults": Configuration(runtime="", handler=""),
        "retention": config.current().retention,
    }
    return draw(request, "portal/function/configuration.html", context)


def _waiting(function: Any, newest: Any) -> list[str]:
    """Settings that the newest version does not have yet."""
    if newest is None:
        return []
    names = {"memory_mib": "memory", "timeout_seconds": "timeout"}
    return [
        names.get(field, field)
        for field in VERSION_FIELDS
        if getattr(function, field) != getattr(newest, field)
    ]
