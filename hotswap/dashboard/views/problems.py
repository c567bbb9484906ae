"""`/problems/<slug>`: what an error means and what to do about it. Open to everybody."""

from pathlib import Path

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET

from hotswap.core.errors import NotFound, all_errors
from hotswap.dashboard.guard import problem_page
from hotswap.dashboard.prose import html_of

_FOLDER = Path(settings.BASE_DIR) / "docs" / "api" / "problems"


@require_GET
def problem(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The page that problem documents name as their type."""
    error = all_errors().get(slug)
    if error is None:
        return problem_page(request, NotFound(f"There is no problem named {slug!r}."))
    text = _FOLDER / f"{slug}.md"  # the slug is one of ours: it cannot lead elsewhere
    prose = html_of(text.read_text("utf-8")) if text.is_file() else ""
    return render(request, "portal/problem_type.html", {"error": error, "prose": prose})


@require_GET
def problem_list(request: HttpRequest) -> HttpResponseBase:
    """Every error of the API."""
    errors = sorted(all_errors().values(), key=lambda error: (error.status, error.slug))
    return render(request, "portal/problem_types.html", {"errors": errors})
