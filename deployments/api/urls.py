"""`/api/v1/deployments`."""

from typing import Any, Final

from django.urls import URLPattern, path

from deployments.api.views import DeploymentViewSet, EventViewSet
from deployments.states import Command

_ONE: Final = "deployments/<uuid:deployment_id>"


def _command(command: Command) -> URLPattern:
    """One address per verb."""
    action: dict[str, Any] = {"post": command.replace("-", "_")}
    view = DeploymentViewSet.as_view(action)
    return path(f"{_ONE}/{command}", view, name=f"api-deployment-{command}")


urlpatterns = [
    path(
        "deployments",
        DeploymentViewSet.as_view({"get": "list", "post": "create"}),
        name="api-deployments",
    ),
    path(
        "deployments/preview",
        DeploymentViewSet.as_view({"post": "preview"}),
        name="api-deployment-preview",
    ),
    path(_ONE, DeploymentViewSet.as_view({"get": "retrieve"}), name="api-deployment"),
    path(f"{_ONE}/events", EventViewSet.as_view({"get": "list"}), name="api-deployment-events"),
    path(
        f"{_ONE}/evidence",
        DeploymentViewSet.as_view({"get": "evidence"}),
        name="api-deployment-evidence",
    ),
    *(_command(command) for command in Command),
]
