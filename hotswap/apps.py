"""Starts what belongs to the project as a whole."""

from django.apps import AppConfig


class HotSwapConfig(AppConfig):
    """Loads the Celery app and names who publishes the routing table."""

    name = "hotswap"
    label = "hotswap"

    def ready(self) -> None:
        # Imported here: all of them need every app's models.
        from hotswap import celery, publisher
        from hotswap.records import services

        celery.app.set_default()
        celery.app.autodiscover_tasks(force=True)  # services start tasks by name
        services.routing_publish_with(publisher.publish)
