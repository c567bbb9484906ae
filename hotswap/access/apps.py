"""Who calls: access tokens and personal access tokens."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    """Identity for the API."""

    name = "hotswap.access"
    label = "access"
