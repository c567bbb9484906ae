"""The app."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """Deployments: what an alias serves, over time."""

    name = "deployments"
