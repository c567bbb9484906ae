"""Websocket addresses."""

from django.urls import path

from deployments.consumers import deployment_socket
from runners.consumers import log_socket

websocket_urlpatterns = [
    path("ws/deployments/<str:id>", deployment_socket),  # type: ignore[arg-type]  # for Channels
    path("ws/functions/<str:name>/logs", log_socket),  # type: ignore[arg-type]  # for Channels
]
