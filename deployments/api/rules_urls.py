"""`/api/v1/environments`, `/freezes`, `/metrics`, and what was said of a deployment."""

from django.urls import path

from deployments.api.rules_views import (
    DeploymentRulesViewSet,
    EnvironmentViewSet,
    FreezeViewSet,
    HookSecretViewSet,
    MetricViewSet,
)

_SAID = "deployments/<uuid:deployment_id>"

urlpatterns = [
    path("environments", EnvironmentViewSet.as_view({"get": "list"}), name="environments"),
    path(
        "environments/<alias:name>",
        EnvironmentViewSet.as_view({"get": "retrieve", "put": "update"}),
        name="environment",
    ),
    path(
        "environments/<alias:name>/hook-secret",
        HookSecretViewSet.as_view({"get": "retrieve", "post": "create"}),
        name="environment-hook-secret",
    ),
    path("freezes", FreezeViewSet.as_view({"get": "list", "post": "create"}), name="freezes"),
    path(
        "freezes/<int:freeze_id>",
        FreezeViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="freeze",
    ),
    path("metrics/<str:metric>", MetricViewSet.as_view({"post": "create"}), name="metrics"),
    path(
        f"{_SAID}/readings",
        DeploymentRulesViewSet.as_view({"get": "readings"}),
        name="deployment-readings",
    ),
    path(
        f"{_SAID}/comparison",
        DeploymentRulesViewSet.as_view({"get": "comparison"}),
        name="deployment-comparison",
    ),
]
