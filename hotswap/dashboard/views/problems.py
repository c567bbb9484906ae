"""`/problems/<slug>`: what an error means and what to do about it. Open to everybody."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET

from hotswap.core.errors import HotSwapError, NotFound, all_errors
from hotswap.dashboard.guard import problem_page
from hotswap.dashboard.prose import html_of


@dataclass(frozen=True, slots=True)
class Problem:
    """An error class as templates take it: they would call a class."""

    slug: str
    title: str
    status: int
    fault: str
    is_retryable: bool

    @classmethod
    def of(cls, error: type[HotSwapError]) -> "Problem":
        """What a class says of itself."""
        return cls(error.slug, error.title, error.status, error.fault, error.retryable)


_FOLDER = Path(settings.BASE_DIR) / "docs" / "api" / "problems"


@require_GET
def problem(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The page that problem documents name as their type."""
    error = all_errors().get(slug)
    if error is None:
        return problem_page(request, NotFound(f"There is no problem named {slug!r}."))
    text = _FOLDER / f"{slug}.md"  # the slug is one of ours: it cannot lead elsewhere
    # Its first two paragraphs are the title and the facts, which the page shows in its own way.
    _, _, told = text.read_text("utf-8").split("\n\n", 2)
    return render(
        request, "portal/problem_type.html", {"error": Problem.of(error), "prose": html_of(told)}
    )


@require_GET
def problem_list(request: HttpRequest) -> HttpResponseBase:
    """Every error of the API."""
    found = map(Problem.of, all_errors().values())
    errors = sorted(found, key=lambda error: (error.status, error.slug))
    return render(request, "portal/problem_types.html", {"errors": errors})
