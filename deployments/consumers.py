"""`/ws/deployments/{id}`: where a deployment stands, said anew whenever it changes.

A message has the whole state, so that nobody needs an earlier one: a watcher who was away
comes back, and the first message tells all.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from channels.db import database_sync_to_async

from deployments import live
from deployments.live import Glance
from hotswap.access.sockets import Scope
from hotswap.access.visits import Send, Visit, socket_of
from hotswap.core.errors import NotFound

PAUSE_SECONDS: Final = 0.5


class DeploymentVisit(Visit):
    """Sends `state` at once, and after every change: at most two a second."""

    wanted = "deployments:read"

    def __init__(self, scope: Scope, send: Send) -> None:
        super().__init__(scope, send)
        self._id = uuid.UUID(int=0)

    async def enter(self) -> str:
        """The deployment's attempts."""
        try:
            self._id = uuid.UUID(self.scope["url_route"]["kwargs"]["id"])
        except ValueError:
            raise NotFound("There is no such deployment.") from None
        await _glance(self._id)
        return live.group(self._id)

    async def check(self) -> None:
        """Its function may have been purged."""
        await _glance(self._id)

    async def stay(self) -> None:
        """Send the state whenever it is another."""
        said = None
        while True:
            self.news.clear()
            seen = await _glance(self._id)
            if seen != said:
                await self.say(type="state", deployment=str(self._id), **_facts(seen))
                said = seen
            await self.beat()
            await self.wait(after=PAUSE_SECONDS)


def _facts(seen: Glance) -> dict[str, object]:
    return {
        "attempt": seen.number,
        "rowVersion": seen.row_version,
        "phase": seen.phase,
        "reason": seen.reason,
        "heldReason": seen.held_reason or None,
        "step": seen.step_index + 1,
        "weight": seen.weight,
        "epoch": seen.epoch,
        "isOver": seen.is_over,
        "calls": seen.calls,
        "gateways": seen.gateways,
        "gatewaysThere": seen.gateways_there,
    }


# A thread of its own: a slow question of one visitor makes nobody else wait.
_glance: Callable[[uuid.UUID], Awaitable[Glance]] = database_sync_to_async(
    live.glance, thread_sensitive=False
)

deployment_socket = socket_of(DeploymentVisit)
