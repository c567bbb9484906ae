"""Whether this process lives, and whether it can serve."""

import logging

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from hotswap import __version__

log = logging.getLogger("hotswap.health")


async def alive(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "ok", "version": __version__})


def ready(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, TimeoutError) as exc:
        log.warning("not ready: %s", exc)
        return JsonResponse({"status": "unavailable", "database": "unreachable"}, status=503)
    return JsonResponse({"status": "ok", "database": "ok"})
