"""DRF plumbing shared by the apps."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """Has no models."""

    name = "hotswap.api"
    label = "api"
