"""The root URL table; composition only."""

from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path

from hotswap import health
from hotswap.api.documents import ApiPage

handler400 = "hotswap.api.handlers.bad_request"
handler403 = "hotswap.api.handlers.forbidden"
handler404 = "hotswap.api.handlers.not_found"
handler500 = "hotswap.api.handlers.server_error"

_styled = csp_update({"style-src": "'unsafe-inline'"})  # the page's author styles it inline

urlpatterns = [
    path("health", health.alive, name="health"),
    path("health/ready", health.ready, name="health-ready"),
    path("api/docs", _styled(ApiPage.as_view()), name="api-docs"),
    path("api/v1/", include("hotswap.urls_v1")),
    path("internal/v1/", include("hotswap.urls_internal")),
    path("admin/", admin.site.urls),
    path("", include("hotswap.dashboard.urls")),
]
