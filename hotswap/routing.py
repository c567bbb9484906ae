"""Websocket addresses."""

from django.urls import path

from runners.consumers import log_socket

websocket_urlpatterns = [
    path("ws/functions/<str:name>/logs", log_socket),  # type: ignore[arg-type]  # for Channels
]
