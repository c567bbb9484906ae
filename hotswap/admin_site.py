"""The administration: Django's admin in the portal's colours, for staff."""

from typing import Any

from csp.decorators import csp_update
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

# The theme evaluates attributes of its own pages and sets styles; nowhere else is that allowed.
_POLICY = {"script-src": "'unsafe-eval'", "style-src": "'unsafe-inline'"}


class HotSwapAdminSite(UnfoldAdminSite):
    """Signs in through the portal's page, and carries a policy of its own."""

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Django's guard, with the policy that the theme needs."""
        return csp_update(_POLICY)(super().admin_view(view, cacheable))

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """There is one sign-in page; it counts tries."""
        if request.user.is_authenticated:
            return redirect("overview")  # signed in, but not staff
        query = request.GET.copy()
        query.setdefault("next", reverse("admin:index"))
        return redirect(f"{reverse('login')}?{query.urlencode(safe='/')}")
