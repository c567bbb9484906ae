"""`/api/v1/functions` and `/api/v1/runtimes`."""

from typing import Any

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from functions.api.runtime_views import RuntimeViewSet
from functions.api.version_views import AliasViewSet, VersionViewSet
from functions.api.views import FunctionViewSet


class FunctionNameConverter(StringConverter):
    """What could name a function; anything else is 404 before it reaches a query."""

    regex = "[A-Za-z0-9-]{1,64}"


class AliasNameConverter(StringConverter):
    """What could name an alias."""

    regex = "[A-Za-z][A-Za-z0-9_-]{0,63}"


class VersionConverter(StringConverter):
    """`v3`, `3` or `$LATEST`."""

    regex = r"\$LATEST|[vV]?[0-9]{1,9}"


register_converter(FunctionNameConverter, "function")
register_converter(AliasNameConverter, "alias")
register_converter(VersionConverter, "version")

_WHOLE: dict[str, Any] = {"get": "list", "post": "create"}
_ONE: dict[str, Any] = {
    "get": "retrieve",
    "put": "update",
    "patch": "partial_update",
    "delete": "destroy",
}

urlpatterns = [
    path("runtimes", RuntimeViewSet.as_view({"get": "list"}), name="runtimes"),
    path("functions", FunctionViewSet.as_view(_WHOLE), name="functions"),
    path("functions/<function:name>", FunctionViewSet.as_view(_ONE), name="function"),
    path(
        "functions/<function:name>/restore",
        FunctionViewSet.as_view({"post": "restore"}),
        name="function-restore",
    ),
    path("functions/<function:name>/versions", VersionViewSet.as_view(_WHOLE), name="versions"),
    path(
        "functions/<function:name>/versions/<version:version>",
        VersionViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="version",
    ),
    path(
        "functions/<function:name>/versions/<version:version>/code",
        VersionViewSet.as_view({"get": "code"}),
        name="version-code",
    ),
    path(
        "functions/<function:name>/versions/<version:version>/files",
        VersionViewSet.as_view({"get": "files"}),
        name="version-files",
    ),
    path("functions/<function:name>/aliases", AliasViewSet.as_view(_WHOLE), name="aliases"),
    path(
        "functions/<function:name>/aliases/<alias:alias>",
        AliasViewSet.as_view(_ONE),
        name="alias",
    ),
]
