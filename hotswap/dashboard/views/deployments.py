"""Deployments: the list, the live page of one with its verbs, and the form that starts one."""

import uuid
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, JsonResponse, QueryDict
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from deployments import selectors as deployments
from deployments.api.filters import DeploymentFilter
from deployments.forecast import forecast
from deployments.services import approvals, business, sources
from deployments.services import deployments as services
from deployments.services.commands import command_give
from deployments.services.observation import alias_now
from deployments.states import Command, Phase
from functions import selectors as functions
from hotswap.core import clock
from hotswap.core.errors import HotSwapError, InvalidInput, NotFound
from hotswap.dashboard import deployment_pages as pages
from hotswap.dashboard import rollouts, start_form, strategy_forms
from hotswap.dashboard.guard import actor, draw, page, quick_endpoint
from hotswap.dashboard.paging import page_of
from runners.selectors import nodes

NEWEST_FIRST: Final = ("-created_at", "-id")
RUNNING_MAX: Final = 100
VERSIONS_MAX: Final = 50
DEFAULT_ALIAS: Final = "production"
STATES: Final = (
    ("active", "Running"),
    *((str(phase), rollouts.PHASE_NAMES[phase]) for phase in Phase),
)
FIELDS: Final = ("function", "state", "strategy", "alias")
_WORDS: Final = {Command.APPROVE: True, Command.REJECT: False}


@page
@require_GET
def deployment_list(request: HttpRequest) -> HttpResponseBase:
    """What runs, then what is over, newest first."""
    query = request.GET
    found = _filtered(query)
    over = DeploymentFilter({"active": "false"}, queryset=found).qs
    part = page_of(over, order=NEWEST_FIRST, cursor=query.get("cursor", ""))
    is_first = "cursor" not in query
    running = DeploymentFilter({"active": "true"}, queryset=found).qs.order_by(*NEWEST_FIRST)
    newest = next(iter(functions.version_recent(limit=1)), None)
    context = {
        "section": "deployments",
        "running": _rows(running[:RUNNING_MAX]) if is_first else [],
        "rows": _rows(part.rows),
        "next": _with(query, cursor=part.next_cursor) if part.next_cursor else "",
        "is_first": is_first,
        "query": {name: query.get(name, "") for name in FIELDS},
        "is_filtered": any(query.get(name) for name in FIELDS),
        "states": STATES,
        "strategies": rollouts.STRATEGY_NAMES.items(),
        "example": newest.function.name if newest else "",
    }
    return draw(request, "portal/deployments.html", context, partial="portal/deployment/_list.html")


def _filtered(query: QueryDict) -> Any:
    chosen = QueryDict(mutable=True)
    state = query.get("state", "")
    if state == "active":
        chosen["active"] = "true"
    elif state in set(Phase):
        chosen["phase"] = state
    for name in ("strategy", "alias"):
        if query.get(name):
            chosen[name] = str(query[name]).strip()
    found = DeploymentFilter(chosen, queryset=deployments.deployment_list()).qs
    function = query.get("function", "").strip()
    return found.filter(function__name__icontains=function) if function else found


def _rows(found: Any) -> list[pages.Row]:
    return [
        pages.row_of(each, deployments.attempt_current(each), function=each.function.name)
        for each in found
    ]


def _with(query: QueryDict, **changes: str) -> str:
    changed = query.copy()
    for name, value in changes.items():
        changed[name] = value
    return f"?{changed.urlencode()}"


@page
@ensure_csrf_cookie
@require_GET
def deployment(request: HttpRequest, id: uuid.UUID) -> HttpResponseBase:  # noqa: A002
    """One deployment, live: the page's script asks for the part whenever something changed."""
    found = deployments.deployment_get(id)
    attempts = sorted(found.attempts.all(), key=lambda each: each.number)
    attempt = _attempt(attempts, request.GET.get("attempt", ""))
    context = _page(request, found, attempt) | {
        "attempts": [(each.number, rollouts.label_of(each)) for each in attempts],
        "setup": {"id": str(id)},
    }
    return draw(request, "portal/deployment.html", context, partial="portal/deployment/_live.html")


def _attempt(attempts: list[Any], number: str) -> Any:
    """The attempt of this number; the newest when none is named."""
    if not number:
        return attempts[-1]
    found = next((each for each in attempts if str(each.number) == number), None)
    if found is None:
        raise NotFound(f"This deployment has no attempt {number}.")
    return found


def _page(request: HttpRequest, found: Any, attempt: Any) -> dict[str, Any]:
    now, plan = clock.utc_now(), pages.plan_of(found)
    words = approvals.approval_state(deployment=found)
    gateways = list(deployments.gateways_of(attempt))
    events = [each for each in deployments.events_of(found) if each.attempt_id == attempt.id]
    is_newest = attempt == deployments.attempt_current(found)
    allowed = deployments.commands_allowed(attempt) if is_newest else []
    allowed = rollouts.one_way_back(allowed, attempt)
    verbs, verbs_why = pages.verbs(found, allowed, actor=actor(request))
    series = deployments.series(attempt)
    return (
        pages.context_of(
            deployment=found,
            attempt=attempt,
            plan=plan,
            approvals_missing=words.needed - len(words.approved_by),
            now=now,
        )
        | pages.fleet(found, attempt, gateways, now=now)
        | pages.runners(attempt, {each.name: each.region for each in nodes.runners_live(now=now)})
        | {
            "verbs": verbs,
            "verbs_why": verbs_why,
            "approvals": words,
            "waits_for_word": approvals.is_waiting(attempt=attempt),
            "events": pages.events(events),
            "receipt": pages.receipt(found, attempt.receipt),
            "mirror": pages.mirror(gateways),
            "preview": pages.preview(found, attempt),
            "series": pages.chart_data(found, plan, series, events),
            "sources": pages.sources(sources.readings(attempt=attempt, now=now)),
            "comparison": _comparison(found, plan, series),
        }
    )


def _comparison(found: Any, plan: Any, series: Any) -> dict[str, Any] | None:
    """Both versions side by side, for tests that a person decides."""
    if not plan.is_decided_by_person:
        return None
    return pages.comparison(series, business.report(deployment_id=found.id))


@page
@require_POST
def command(request: HttpRequest, id: uuid.UUID) -> HttpResponseBase:  # noqa: A002
    """Give a deployment a command; the page that follows shows what it did."""
    wanted = _command(request.POST.get("command", ""))
    reason, now = request.POST.get("reason", "").strip(), clock.utc_now()
    if wanted in _WORDS:
        approvals.approval_give(
            deployment_id=id,
            is_approved=_WORDS[wanted],
            digest=request.POST.get("digest", ""),
            comment=reason,
            actor=actor(request),
            now=now,
        )
        return HttpResponseRedirect(reverse("deployment", args=[id]))
    attempt = command_give(
        deployment_id=id, command=wanted, reason=reason, actor=actor(request), now=now
    )
    return HttpResponseRedirect(reverse("deployment", args=[attempt.deployment_id]))


def _command(text: str) -> Command:
    try:
        return Command(text)
    except ValueError:
        raise InvalidInput(f"There is no command {text!r}.") from None


@page
@ensure_csrf_cookie
@require_http_methods(["GET", "POST"])
def deployment_new(request: HttpRequest, name: str) -> HttpResponseBase:
    """The start form; a refused one comes back as it was filled in."""
    errors: dict[str, str] = {}
    if request.method == "POST":
        try:
            made = services.deployment_create(**_asked(request, name))
        except HotSwapError as error:
            errors = start_form.errors_of(error)
            messages.error(request, error.detail)
        else:
            return HttpResponseRedirect(reverse("deployment", args=[made.id]))
    context = _form(request, name, errors)
    return draw(request, "portal/deployment_new.html", context)


def _form(request: HttpRequest, name: str, errors: dict[str, str]) -> dict[str, Any]:
    function = functions.function_get(name=name)
    given = request.POST if request.method == "POST" else request.GET
    chosen = strategy_forms.choice_of(given.get("strategy", ""))
    answers = given.dict()
    return {
        "section": "deployments",
        "function": function,
        "versions": functions.version_list(function=function).order_by("-number")[:VERSIONS_MAX],
        "version": given.get("version", "").lstrip("v"),
        "aliases": function.aliases.all(),
        "alias": given.get("alias", "").strip() or DEFAULT_ALIAS,
        "given": given,
        "errors": errors,
        "chosen": str(chosen.strategy),
        "choices": start_form.choices(answers, errors, chosen),
        **start_form.common_fields(answers, errors),
    }


@quick_endpoint
@require_POST
def preview(request: HttpRequest, name: str) -> HttpResponseBase:
    """What the filled-in form would do: `{html, errors}`, errors by field."""
    errors: dict[str, str] = {}
    context: dict[str, Any] = {}
    try:
        context["preview"] = _preview(request, name)
    except HotSwapError as error:
        errors = start_form.errors_of(error)
        context["fault"] = error.detail
    html = render_to_string("portal/deployment/_plan.html", context)
    return JsonResponse({"html": html, "errors": errors})


def _preview(request: HttpRequest, name: str) -> dict[str, Any]:
    asked = _asked(request, name)
    found = services.deployment_preview(**asked)
    function = functions.function_get(name=name)
    seen = forecast(
        plan=found.plan,
        function_id=function.id,
        created_at=function.created_at,
        now=asked["now"],
    )
    body = strategy_forms.request_body(asked)
    return start_form.preview(found, seen) | {"body": body}


def _asked(request: HttpRequest, name: str) -> dict[str, Any]:
    """The form's answers as arguments of the services."""
    given = request.POST
    chosen = strategy_forms.choice_of(given.get("strategy", ""))
    alias, version = given.get("alias", "").strip() or DEFAULT_ALIAS, given.get("version", "")
    function = functions.function_get(name=name)
    stable = alias_now(function=function, alias=alias).number
    config = strategy_forms.config_of(given.dict(), chosen, stable=stable, candidate=version)
    return {
        "function_name": name,
        "version": version,
        "strategy": chosen.strategy,
        "config": config,
        "alias": alias,
        "message": given.get("message", "").strip(),
        "reversible": given.get("irreversible") != "1",
        "actor": actor(request),
        "now": clock.utc_now(),
    }
