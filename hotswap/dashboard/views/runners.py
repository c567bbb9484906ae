"""The machines that run functions, and what runs on them."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from hotswap.core import clock
from hotswap.dashboard.guard import draw, page
from runners.selectors import nodes


@page
@require_GET
def runner_list(request: HttpRequest) -> HttpResponseBase:
    """Every runner with its instances, as its last heartbeat told."""
    context = {"section": "runners", "nodes": nodes.node_list(now=clock.utc_now())}
    return draw(request, "portal/runners.html", context, partial="portal/_runners.html")
