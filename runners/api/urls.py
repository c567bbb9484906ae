"""Addresses of invocations, metrics, logs and runners."""

from django.urls import path

from runners.api.views import InvocationViewSet, LogViewSet, MetricsViewSet, RunnerViewSet

urlpatterns = [
    path("functions/<str:name>/metrics", MetricsViewSet.as_view({"get": "retrieve"})),
    path("functions/<str:name>/logs", LogViewSet.as_view({"get": "list"})),
    path("functions/<str:name>/invocations", InvocationViewSet.as_view({"get": "list"})),
    path(
        "functions/<str:name>/invocations/<str:request_id>",
        InvocationViewSet.as_view({"get": "retrieve"}),
    ),
    path(
        "functions/<str:name>/invocations/<str:request_id>/logs",
        InvocationViewSet.as_view({"get": "logs"}),
    ),
    path("runners", RunnerViewSet.as_view({"get": "list"})),
    path("runners/<str:name>", RunnerViewSet.as_view({"get": "retrieve"})),
]
