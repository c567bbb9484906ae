"""What every template may use."""

from django.http import HttpRequest

from hotswap import __version__, config

_THEMES = ("light", "dark")


def portal(request: HttpRequest) -> dict[str, object]:
    """The chosen theme, the release, and whether functions run without isolation."""
    theme = request.COOKIES.get("theme", "")
    return {
        "theme": theme if theme in _THEMES else "",
        "release": __version__,
        "is_unisolated": config.current().runner.allow_unisolated,
    }
