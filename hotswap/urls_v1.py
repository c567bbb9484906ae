"""The API's first version: joins the apps' URL lists."""

from django.urls import include, path

from hotswap.api.documents import OpenApiDocument

urlpatterns = [
    path("openapi.json", OpenApiDocument.as_view(), name="openapi"),
    path("", include("hotswap.access.urls")),
    path("", include("functions.api.urls")),
    path("", include("runners.api.urls")),
    path("", include("deployments.api.urls")),
    path("", include("deployments.api.rules_urls")),
]
