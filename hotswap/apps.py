"""Starts what belongs to the project as a whole."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class HotSwapConfig(AppConfig):
    """Loads the Celery app and names who publishes the routing table."""

    name = "hotswap"
    label = "hotswap"

    def ready(self) -> None:
        # Imported here, because all of them need every app's models.
        from hotswap import celery, publisher  # noqa: PLC0415
        from hotswap.records import services  # noqa: PLC0415

        celery.app.set_default()
        celery.app.autodiscover_tasks(force=True)  # services start tasks by name
        services.routing_publish_with(publisher.publish)


class AdminConfig(admin.AdminConfig):
    """Puts our site where Django's own would be."""

    default_site = "hotswap.admin_site.HotSwapAdminSite"
