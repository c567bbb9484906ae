"""The control plane's ASGI application: invocations are forwarded, the rest is Django."""

import os
from typing import cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hotswap.settings")

_django = get_asgi_application()  # before the imports below: they need the apps to be loaded

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402

from hotswap import config, routing  # noqa: E402
from hotswap.body_limit import BodyLimit  # noqa: E402
from hotswap.forward import App, Forwarder  # noqa: E402

# Every socket says itself who may use it: `hotswap.access.sockets` knows tokens and sessions.
_sockets = SessionMiddlewareStack(URLRouter(routing.websocket_urlpatterns))

application = Forwarder(
    gateway_url=config.current().gateway.url,
    app=ProtocolTypeRouter({"http": BodyLimit(cast(App, _django)), "websocket": _sockets}),
)
