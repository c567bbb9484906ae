"""Synchronous entry, for operators who serve the portal without websockets."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hotswap.settings")

application = get_wsgi_application()
