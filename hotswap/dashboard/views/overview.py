"""The first page: is everything well, what was called, what was deployed, what to do first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from deployments import selectors as deployments
from deployments.api.filters import DeploymentFilter
from functions import selectors as functions
from functions import starters
from hotswap.core import clock
from hotswap.dashboard import selectors
from hotswap.dashboard.deployment_pages import Row, row_of
from hotswap.dashboard.guard import draw, page
from runners.selectors import usage

ACTIVITY_MINUTES = 60
RECENT = 8
ROLLOUTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the first-run checklist."""

    title: str
    hint: str
    is_done: bool
    url: str = ""


@page
@require_GET
def overview(request: HttpRequest) -> HttpResponseBase:
    """Health, figures of the last hour, recent versions, first steps."""
    now = clock.utc_now()
    activity = usage.activity(minutes=ACTIVITY_MINUTES, now=now)
    recent = list(functions.version_recent(limit=RECENT))
    steps = _steps(request, called=activity.calls > 0 or usage.was_ever_called())
    context = {
        "section": "overview",
        "health": selectors.health(now=now),
        "activity": activity,
        "this_minute": activity.per_minute[-1],
        "recent": recent,
        "function_count": functions.function_list().count(),
        "steps": [] if all(step.is_done for step in steps) else steps,
        "busiest": _busiest(now),
        "starter": starters.all_starters()[0],
        "waiting": [
            row_of(attempt.deployment, attempt, function=attempt.function.name)
            for attempt in deployments.waiting_for_person()
        ],
        "running": _running(),
    }
    return draw(request, "portal/overview.html", context, partial="portal/_overview.html")


def _running() -> list[Row]:
    """Rollouts that go on by themselves, the newest first."""
    found = DeploymentFilter({"active": "true"}, queryset=deployments.deployment_list()).qs
    rows = [
        row_of(each, deployments.attempt_current(each), function=each.function.name)
        for each in found[:ROLLOUTS_MAX]
    ]
    return [row for row in rows if not row.needs_person]


def _busiest(now: datetime) -> list[tuple[str, usage.Usage]]:
    """The most called functions of the last hour by name."""
    found = usage.usage_busiest(limit=RECENT, since=now - timedelta(minutes=ACTIVITY_MINUTES))
    names = functions.function_names(ids=[function_id for function_id, _ in found])
    return [(names[function_id], used) for function_id, used in found if function_id in names]


def _steps(request: HttpRequest, *, called: bool) -> list[Step]:
    newest = next(iter(functions.version_recent(limit=1)), None)
    own = f"/functions/{newest.function.name}" if newest else ""
    return [
        Step("Create a function", "From a starter, in one click", newest is not None),
        Step("Test it", "Run it with an event and read the result", called, own),
        Step(
            "Save a second version",
            "Edit the code in the browser",
            functions.has_second_version(),
            own,
        ),
        Step(
            "Point an alias at a version",
            "Callers use the alias; you move it",
            functions.has_alias(),
            f"{own}/versions" if own else "",
        ),
        Step(
            "Create an access token",
            "Call your function from anywhere",
            selectors.tokens(user=request.user).exists(),
            "/account",
        ),
    ]
