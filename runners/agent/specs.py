"""What may run here: functions and versions from the routing table, by version id."""

import asyncio
from collections.abc import Callable

import msgspec

from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.link.feed import Changed

_decode = msgspec.json.Decoder(FunctionRoute).decode


class Specs:
    """The runner's view of the table.

    Args:
        on_change: called with a function's new route, or with None and the old one's id when
            it is gone.
    """

    def __init__(self, on_change: Callable[[int, FunctionRoute | None], None]) -> None:
        self._on_change = on_change
        self._functions: dict[str, FunctionRoute] = {}
        self._versions: dict[int, tuple[FunctionRoute, VersionRoute]] = {}
        self._changed = asyncio.Event()

    def apply(self, changed: Changed) -> None:
        """Take changed entries; keys of other kinds are not for runners."""
        for key, body in changed.items():
            if key.startswith("function/"):
                self._set(key, _decode(body) if body is not None else None)
        self._changed.set()
        self._changed = asyncio.Event()

    def _set(self, key: str, route: FunctionRoute | None) -> None:
        old = self._functions.pop(key, None)
        if old is not None:
            for version in old.versions:
                self._versions.pop(version.id, None)
        if route is not None:
            self._functions[key] = route
            for version in route.versions:
                self._versions[version.id] = (route, version)
            self._on_change(route.id, route)
        elif old is not None:
            self._on_change(old.id, None)

    def get(self, version_id: int) -> tuple[FunctionRoute, VersionRoute] | None:
        return self._versions.get(version_id)

    async def wait_for(
        self, version_id: int, within_seconds: float
    ) -> tuple[FunctionRoute, VersionRoute] | None:
        """The version, waiting for the feed when a gateway was told first."""
        try:
            async with asyncio.timeout(within_seconds):
                while (found := self._versions.get(version_id)) is None:
                    await self._changed.wait()
                return found
        except TimeoutError:
            return None
