"""The portal: pages over the same services that the API uses."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """The portal's pages and what they keep: saved test events."""

    name = "hotswap.dashboard"
    label = "dashboard"
