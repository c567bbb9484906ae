"""Icons, bars and units for templates."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from hotswap.core import clock

register = template.Library()

_ICONS = "vendor/lucide/icons.svg"
_NOTHING = "\N{EN DASH}"
_STEPS = ((60, "s", 1), (3_600, "min", 60), (86_400, "h", 3_600), (5_184_000, "d", 86_400))


@register.simple_tag
def icons() -> str:
    """Address of the icon sprite."""
    return static(_ICONS)


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the sprite; it says nothing to screen readers."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>', static(_ICONS), name
    )


@register.filter
def ago(moment: datetime | None) -> SafeString:
    """A `<time>` with how long ago, kept current by the page's script."""
    if moment is None:
        return format_html("{}", "never")
    at = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        at.isoformat(timespec="milliseconds"),
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        _age((clock.utc_now() - at).total_seconds()),
    )


def _age(seconds: float) -> str:
    if seconds < 2:
        return "now"
    for below, unit, size in _STEPS:
        if seconds < below:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds // 2_592_000)} mo ago"


@register.filter
def bytes_of(count: int) -> str:
    """1.4 KB, 3 MB."""
    if count < 1_000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1_000:.3g} KB"
    return f"{count / 1_000_000:.3g} MB"


@register.filter
def ms(value: float | None) -> str:
    """A duration in milliseconds for people."""
    if value is None:
        return _NOTHING
    if value >= 1_000:
        return f"{value / 1_000:.2f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


@register.filter
def us(value: float | None) -> str:
    """A duration in microseconds for people."""
    return ms(None if value is None else value / 1_000)


@register.filter
def percent(part: float, whole: float) -> str:
    """`part` of `whole` in per cent; a dash when there is no whole."""
    if not whole:
        return _NOTHING
    share = 100 * part / whole
    return f"{share:.0f} %" if share in (0, 100) else f"{share:.2g} %"


@register.filter
def share(weight_bps: int) -> str:
    """Basis points as per cent."""
    return f"{weight_bps / 100:g} %"


@register.filter
def tone(index: int) -> int:
    """Which of the five colours of shares."""
    return index % 5


@register.filter
def mib_of(kib: int) -> str:
    """KiB as MiB for people."""
    return f"{kib / 1024:.3g} MiB"


@register.filter
def minus(whole: int, part: int) -> int:
    """A difference."""
    return whole - part


@register.filter
def trace(lines: Sequence[str]) -> str:
    """A stack trace as text; some languages end its lines themselves."""
    return "\n".join(str(line).rstrip("\n") for line in lines)


@register.filter
def short(text: str) -> str:
    """The first twelve characters of a hash."""
    return text[:12]


@register.simple_tag
def parts_bar(queue_us: int, init_us: int, run_us: int) -> SafeString:
    """How a call's time divides, as a bar."""
    parts = {"queue": queue_us, "init": init_us, "run": run_us}
    return _bar("parts-svg", [(name, value) for name, value in parts.items() if value])


@register.simple_tag
def alias_bar(alias: Any) -> SafeString:
    """Shares of an alias, as a bar."""
    weights = [target.weight_bps for target in alias.targets.all()]
    return _bar("share-bar", [(f"tone-{tone(n)}", weight) for n, weight in enumerate(weights)])


@register.simple_tag
def meter(value: float, whole: float) -> SafeString:
    """How full something is."""
    width = 100 * min(1.0, value / whole) if whole else 0
    return format_html(
        '<svg class="meter" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="1"></rect>'
        '<rect class="level" width="{}" height="1"></rect></svg>',
        f"{width:.1f}",
    )


@register.simple_tag
def spark(values: Sequence[int]) -> SafeString:
    """A small line of numbers over time."""
    top = max(values, default=0) or 1
    step = 100 / max(1, len(values) - 1)
    points = " L".join(
        f"{n * step:.1f} {24 - 22 * value / top:.1f}" for n, value in enumerate(values)
    )
    return format_html(
        '<svg class="spark" viewBox="0 0 100 25" preserveAspectRatio="none" aria-hidden="true">'
        '<path d="M{}"></path></svg>',
        points or "0 24 L100 24",
    )


def _bar(name: str, parts: Sequence[tuple[str, int]]) -> SafeString:
    total = sum(value for _, value in parts) or 1
    rows, left = [], 0.0
    for part, value in parts:
        width = max(1.0, 100 * value / total)
        rows.append((part, f"{left:.2f}", f"{width:.2f}"))
        left += width
    rectangles = format_html_join("", '<rect class="{}" x="{}" width="{}" height="1"></rect>', rows)
    return format_html(
        '<svg class="{}" viewBox="0 0 {} 1" preserveAspectRatio="none" aria-hidden="true">{}</svg>',
        name,
        f"{max(left, 1.0):.2f}",
        rectangles,
    )
