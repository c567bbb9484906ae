"""The list of functions, and new ones: from a starter or from a zip file."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from functions import packages, starters
from functions import selectors as functions
from functions.api.filters import FunctionFilter
from functions.services import functions as function_services
from functions.services.versions import function_create_with_code
from functions.types import Configuration
from hotswap.core import clock
from hotswap.core.errors import HotSwapError, InvalidInput
from hotswap.dashboard import selectors, services
from hotswap.dashboard.guard import actor, draw, page, uploaded
from hotswap.dashboard.paging import page_of
from hotswap.records import table

ORDERS = {
    "name": ("name", "id"),
    "-updated": ("-updated_at", "id"),
    "-created": ("-created_at", "id"),
    "runtime": ("runtime", "id"),
}
ORDER_LABELS = (
    ("name", "by name"),
    ("-updated", "changed last"),
    ("-created", "newest first"),
    ("runtime", "by runtime"),
)
FIELDS = ("search", "runtime", "tag")


@page
@require_GET
def function_list(request: HttpRequest) -> HttpResponseBase:
    """Functions in service; with `?deleted=1` those that can be restored."""
    now, query = clock.utc_now(), request.GET
    deleted = query.get("deleted") == "1"
    order = query.get("order", "name")
    found = FunctionFilter(query, queryset=functions.function_list(deleted=deleted)).qs
    part = page_of(found, order=ORDERS.get(order, ORDERS["name"]), cursor=query.get("cursor", ""))
    context = {
        "section": "functions",
        "rows": selectors.function_rows(part.rows, now=now),
        "next": _with(request, cursor=part.next_cursor) if part.next_cursor else "",
        "is_first": "cursor" not in query,
        "total": found.count(),
        "order": order,
        "orders": ORDER_LABELS,
        "deleted": deleted,
        "query": {name: query.get(name, "") for name in FIELDS},
        "is_filtered": any(query.get(name) for name in FIELDS),
        "runtimes": functions.runtimes_in_use(),
        "starter": starters.all_starters()[0],
    }
    return draw(request, "portal/functions.html", context, partial="portal/_functions.html")


def _with(request: HttpRequest, **changes: str) -> str:
    query = request.GET.copy()
    for name, value in changes.items():
        query[name] = value
    return f"?{query.urlencode()}"


@page
@require_http_methods(["GET", "POST"])
def function_new(request: HttpRequest) -> HttpResponseBase:
    """Choose a starter or a zip file; a refused form comes back as it was filled in."""
    if request.method == "POST":
        try:
            return _created(request)
        except HotSwapError as error:
            messages.error(request, error.detail)
    choices = selectors.runtime_choices(now=clock.utc_now())
    offered = [
        (starter, selectors.runtime_for(starter.language, choices))
        for starter in starters.all_starters()
    ]
    context = {
        "section": "functions",
        "starters": [(starter, runtime) for starter, runtime in offered if runtime],
        "runtimes": choices,
        "given": request.POST,
        "suggested": _free_name(starters.all_starters()[0]),
    }
    return draw(request, "portal/function_new.html", context)


def _created(request: HttpRequest) -> HttpResponseBase:
    given, name = request.POST, request.POST.get("name", "").strip()
    if "package" in request.FILES:
        _from_zip(request, name)
    else:
        starter = starters.get(given.get("starter", starters.all_starters()[0].name))
        name = name or _free_name(starter)
        choices = selectors.runtime_choices(now=clock.utc_now())
        runtime = given.get("runtime") or getattr(
            selectors.runtime_for(starter.language, choices), "name", ""
        )
        if not runtime:
            raise InvalidInput(f"No runner here can run {starter.language}.")
        services.function_from_starter(
            starter=starter, runtime=runtime, name=name, actor=actor(request), now=clock.utc_now()
        )
    table.wait_acked()  # the test that follows must find the function
    return HttpResponseRedirect(reverse("function", args=[name]) + "#test")


def _from_zip(request: HttpRequest, name: str) -> None:
    given = request.POST
    configuration = Configuration(
        runtime=given.get("runtime", ""), handler=given.get("handler", "").strip()
    )
    with packages.received(uploaded(request, "package")) as package:
        function_create_with_code(
            name=name,
            configuration=configuration,
            package=package,
            actor=actor(request),
            now=clock.utc_now(),
            message=f"Uploaded {package.summary.files} files",
        )


def _free_name(starter: starters.Starter) -> str:
    """The starter's name, with a number when it is taken."""
    taken = functions.names_like(prefix=starter.name)
    names = (starter.name, *(f"{starter.name}-{n}" for n in range(2, len(taken) + 2)))
    return next(name for name in names if name not in taken)


@page
@require_POST
def function_restore(request: HttpRequest, name: str) -> HttpResponseBase:
    """Put a deleted function back into service."""
    function_services.function_restore(name=name, actor=actor(request), now=clock.utc_now())
    messages.success(request, f"{name} is back, with all its versions and aliases.")
    return HttpResponseRedirect(reverse("function", args=[name]))
