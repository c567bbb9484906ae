"""Functions by name, for the command palette."""

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_GET

from functions import selectors as functions
from functions.api.filters import FunctionFilter
from hotswap.dashboard.guard import quick_endpoint

FOUND_MAX = 12


@quick_endpoint
@require_GET
def search(request: HttpRequest) -> HttpResponseBase:
    """The first functions that match `q`."""
    query = {"search": request.GET.get("q", "")}
    found = FunctionFilter(query, queryset=functions.function_list()).qs.order_by("name")
    rows = [
        {"name": f.name, "runtime": f.runtime, "url": reverse("function", args=[f.name])}
        for f in found[:FOUND_MAX]
    ]
    return JsonResponse({"functions": rows})
