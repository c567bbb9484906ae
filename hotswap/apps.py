"""Starts what belongs to the project as a whole."""

from django.apps import AppConfig


class HotSwapConfig(AppConfig):
    """Loads the Celery app, so that tasks of every app find it."""

    name = "hotswap"
    label = "hotswap"

    def ready(self) -> None:
        from hotswap import celery  # noqa: F401, PLC0415  (needs the settings to be loaded)
