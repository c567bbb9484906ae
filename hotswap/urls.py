"""The root URL table; composition only."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("hotswap.urls_v1")),
    path("internal/v1/", include("hotswap.urls_internal")),
]
