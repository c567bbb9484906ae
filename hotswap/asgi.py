"""The control plane's ASGI application: invocations are forwarded, the rest is Django."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hotswap.settings")

_django = get_asgi_application()  # before the imports below: they need the apps to be loaded

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from hotswap import config, forward, routing  # noqa: E402

_sockets = AuthMiddlewareStack(URLRouter(routing.websocket_urlpatterns))

application = forward.Forwarder(
    gateway_url=config.current().gateway.url,
    app=ProtocolTypeRouter(
        {"http": _django, "websocket": AllowedHostsOriginValidator(_sockets)},
    ),
)
