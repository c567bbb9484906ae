"""The one permission seam: a view says which scope each action needs; silence denies."""

from typing import Any, Final

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from hotswap.core.errors import Forbidden

PUBLIC: Final = "public"
"""For the few actions that are open to everybody: health, login, documentation."""

SESSION_SCOPE: Final = "*"
"""What a signed-in browser may do: everything its user may."""


def action_of(request: Request, view: Any) -> str:
    """Name under which a view declares its scope: the viewset's action, else the method."""
    return getattr(view, "action", None) or str(request.method).lower()


def granted(request: Request) -> frozenset[str]:
    """Scopes of the caller."""
    scopes: frozenset[str] | None = getattr(request.auth, "scopes", None)
    return frozenset({SESSION_SCOPE}) if scopes is None else scopes


class ScopePermission(BasePermission):
    """Allows what the view's `scopes` names and the caller has."""

    def has_permission(self, request: Request, view: Any) -> bool:
        action = action_of(request, view)
        wanted = getattr(view, "scopes", {}).get(action)
        if wanted == PUBLIC:
            return True
        if not request.user.is_authenticated:
            return False  # DRF answers 401
        if not hasattr(view, action):
            raise MethodNotAllowed(str(request.method))
        if wanted is None:
            raise Forbidden("This operation is not open to anybody.")
        if not granted(request) & {wanted, SESSION_SCOPE}:
            raise Forbidden(f"Your token lacks the scope {wanted}.", scope=wanted)
        return True
