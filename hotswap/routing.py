"""Websocket addresses."""

from django.urls import path

from runners.consumers import LogConsumer

websocket_urlpatterns = [
    path("ws/functions/<str:name>/logs", LogConsumer.as_asgi()),
]
