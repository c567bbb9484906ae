"""Bars, clocks and pictures of rollouts for templates."""

from collections.abc import Sequence

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from deployments.types import ALL
from hotswap.dashboard import rollouts

register = template.Library()

_WIDTH, _HEIGHT = 120, 36

register.filter("duration", rollouts.duration)


@register.simple_tag
def rollout_bar(share: int, size: str = "") -> SafeString:
    """How calls divide: the old version's part, then the candidate's."""
    return format_html(
        '<svg class="rollout-bar {}" viewBox="0 0 10000 1" preserveAspectRatio="none" '
        'aria-hidden="true"><rect class="old" width="10000" height="1"></rect>'
        '<rect class="new" x="{}" width="{}" height="1"></rect></svg>',
        size,
        ALL - share,
        share,
    )


@register.simple_tag
def clock(seconds: float, direction: str = "down") -> SafeString:
    """A running clock; the page's script moves it."""
    return format_html(
        '<span class="clock num" data-clock="{}" data-seconds="{}">{}</span>',
        direction,
        f"{seconds:.1f}",
        rollouts.clock_text(seconds),
    )


@register.simple_tag
def elapsed(left: float, whole: float) -> SafeString:
    """How much of a clock has run, as a bar; the page's script moves it."""
    share = 100 * (1 - left / whole) if whole else 100
    return format_html(
        '<svg class="elapsed" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" '
        'data-left="{}" data-whole="{}"><rect class="track" width="100" height="1"></rect>'
        '<rect class="level" width="{}" height="1"></rect></svg>',
        f"{left:.1f}",
        f"{whole:.1f}",
        f"{share:.1f}",
    )


@register.simple_tag
def probability_bar(share: float) -> SafeString:
    """A probability from 0 to 1 as a bar; full is as good as certain."""
    return format_html(
        '<svg class="odds {}" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="1"></rect>'
        '<rect class="level" width="{}" height="1"></rect></svg>',
        "sure" if share >= 0.95 else "",
        f"{100 * share:.1f}",
    )


@register.filter
def odds(share: float) -> str:
    """A probability in whole per cent, rounded down; neither never nor always."""
    if share < 0.01:
        return "< 1 %"
    return f"{int(100 * share)} %" if share <= 0.995 else "> 99 %"


@register.simple_tag
def weight_picture(steps: Sequence[tuple[int, float]]) -> SafeString:
    """The candidate's share over time: (basis points, seconds) of each step."""
    line = rollouts.path_of(steps, width=_WIDTH, height=_HEIGHT)
    return format_html(
        '<svg class="weight-picture" viewBox="0 -2 {} {}" preserveAspectRatio="none" '
        'aria-hidden="true"><path class="area" d="{}V{}Z"></path><path class="edge" d="{}"></path>'
        "</svg>",
        _WIDTH,
        _HEIGHT + 4,
        line,
        _HEIGHT,
        line,
    )


@register.simple_tag
def runner_cells(shares: Sequence[int]) -> SafeString:
    """Runners as cells, filled by how much of their calls the candidate gets."""
    rows = [
        (10 * n, 10 * n, 8 - 8 * share / ALL, 8 * share / ALL) for n, share in enumerate(shares)
    ]
    cells = format_html_join(
        "",
        '<rect class="old" x="{}" y="0" width="8" height="8"></rect>'
        '<rect class="new" x="{}" y="{}" width="8" height="{}"></rect>',
        rows,
    )
    return format_html(
        '<svg class="cells" viewBox="0 0 {} 8" aria-hidden="true">{}</svg>',
        max(8, 10 * len(shares) - 2),
        cells,
    )
