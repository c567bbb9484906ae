"""What the forms of a function's page do. Each calls one service and goes back."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_POST

from functions import packages
from functions.services import aliases, versions
from functions.services import functions as function_services
from hotswap.core import clock
from hotswap.core.errors import InvalidInput
from hotswap.dashboard.guard import actor, page, uploaded
from hotswap.records import table

_NUMBERS = {
    "memory_mib": "Memory",
    "timeout_seconds": "Timeout",
    "max_instances": "Most instances",
    "idle_timeout_seconds": "Idle timeout",
    "max_queue": "Queue",
}


def _back(tab: str, name: str) -> HttpResponseRedirect:
    table.wait_acked()  # the page that follows shows what gateways already do
    return HttpResponseRedirect(reverse(tab, args=[name]))


@page
@require_POST
def configure(request: HttpRequest, name: str) -> HttpResponseBase:
    """Keep the settings; with the button "publish" make a version of them too."""
    changes = _changes(request)
    if "publish" in request.POST:
        version = versions.version_publish(
            name=name,
            changes=changes,
            message=request.POST.get("message", "").strip() or "New configuration",
            actor=actor(request),
            now=clock.utc_now(),
        )
        messages.success(request, f"Version v{version.number} has the new configuration.")
    else:
        function_services.function_update(
            name=name, changes=changes, actor=actor(request), now=clock.utc_now()
        )
        messages.success(request, "Saved.")
    return _back("function-configuration", name)


def _changes(request: HttpRequest) -> dict[str, Any]:
    given = request.POST
    tags = [tag.strip() for tag in given.get("tags", "").split(",")]
    return {
        **{field: _number(given.get(field, ""), label) for field, label in _NUMBERS.items()},
        "runtime": given.get("runtime", ""),
        "handler": given.get("handler", "").strip(),
        "description": given.get("description", "").strip(),
        "tags": tuple(tag for tag in tags if tag),
        "environment": _environment(request),
        "is_idempotent": "is_idempotent" in given,
        "reserved_concurrency": (
            _number(given["reserved_concurrency"], "Concurrency limit")
            if given.get("reserved_concurrency", "").strip()
            else None
        ),
    }


def _number(text: str, label: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{label} must be a whole number, not {text!r}.") from None


def _environment(request: HttpRequest) -> dict[str, str]:
    names, values = request.POST.getlist("env-name"), request.POST.getlist("env-value")
    found: dict[str, str] = {}
    for name, value in zip((name.strip() for name in names), values, strict=False):
        if name in found:
            raise InvalidInput(f"The variable {name} is there twice.")
        if name:
            found[name] = value
    return found


@page
@require_POST
def delete(request: HttpRequest, name: str) -> HttpResponseBase:
    """Take the function out of service; its name must have been typed."""
    if request.POST.get("name") != name:
        raise InvalidInput("Type the function's name to delete it.")
    function_services.function_delete(name=name, actor=actor(request), now=clock.utc_now())
    messages.success(request, f"{name} is deleted. It can be restored from the deleted functions.")
    table.wait_acked()
    return HttpResponseRedirect(reverse("functions"))


@page
@require_POST
def upload(request: HttpRequest, name: str) -> HttpResponseBase:
    """Make the next version from a zip file."""
    with packages.received(uploaded(request, "package")) as package:
        version = versions.version_create(
            name=name,
            package=package,
            message=request.POST.get("message", "").strip(),
            actor=actor(request),
            now=clock.utc_now(),
        )
    messages.success(request, f"Version v{version.number} is uploaded.")
    return _back("function-versions", name)


@page
@require_POST
def version_delete(request: HttpRequest, name: str, version: str) -> HttpResponseBase:
    """Delete a version that no alias leads to."""
    versions.version_delete(name=name, version=version, actor=actor(request), now=clock.utc_now())
    messages.success(request, f"Version {version} is deleted.")
    return _back("function-versions", name)


@page
@require_POST
def alias_save(request: HttpRequest, name: str) -> HttpResponseBase:
    """Make an alias, or move one: all its weights at one moment."""
    given = request.POST
    alias = given.get("alias", "").strip()
    command: dict[str, Any] = {
        "function_name": name,
        "name": alias,
        "weights": _weights(request),
        "description": given.get("description", "").strip(),
        "actor": actor(request),
        "now": clock.utc_now(),
    }
    if given.get("is_new") == "1":
        aliases.alias_create(**command)
    else:
        aliases.alias_update(**command)
    messages.success(request, f"Alias {alias} is set on every gateway.")
    return _back("function-versions", name)


def _weights(request: HttpRequest) -> dict[int, int]:
    """Per cent from the form as basis points."""
    numbers, shares = request.POST.getlist("version"), request.POST.getlist("share")
    weights: dict[int, int] = {}
    for text, share in zip(numbers, shares, strict=False):
        number = _number(text.lstrip("v"), "A version")
        if number in weights:
            raise InvalidInput(f"Version v{number} is there twice.")
        weights[number] = _basis_points(share)
    return {number: weight for number, weight in weights.items() if weight}


def _basis_points(share: str) -> int:
    try:
        return round(float(share) * 100)
    except (ValueError, OverflowError):
        raise InvalidInput(f"A share is a number of per cent, not {share!r}.") from None


@page
@require_POST
def alias_delete(request: HttpRequest, name: str, alias: str) -> HttpResponseBase:
    """Remove an alias; its versions stay."""
    aliases.alias_delete(function_name=name, name=alias, actor=actor(request), now=clock.utc_now())
    messages.success(request, f"Alias {alias} is removed; its versions stay.")
    return _back("function-versions", name)
