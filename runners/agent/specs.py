"""What may run here, and what is to be kept warm: the routing table by version id."""

import asyncio
from collections.abc import Callable

import msgspec

from hotswap.wire.rollouts import WarmRoute
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.link.feed import Changed

_decode = msgspec.json.Decoder(FunctionRoute).decode
_decode_warm = msgspec.json.Decoder(WarmRoute).decode


class Specs:
    """The runner's view of the table.

    Args:
        on_change: called with a function's new route, or with None and the old one's id when
            it is gone.
        on_warm: called with version id -> instances to keep ready, after what changed them.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[int, FunctionRoute | None], None],
        on_warm: Callable[[dict[int, int]], None],
    ) -> None:
        self._on_change = on_change
        self._on_warm = on_warm
        self._warm: dict[str, WarmRoute] = {}
        self._counts: dict[int, int] = {}
        self._functions: dict[str, FunctionRoute] = {}
        self._versions: dict[int, tuple[FunctionRoute, VersionRoute]] = {}
        self._changed = asyncio.Event()

    def apply(self, changed: Changed) -> None:
        """Take changed entries; keys of other kinds are not for runners."""
        for key, body in changed.items():
            if key.startswith("function/"):
                self._set(key, _decode(body) if body is not None else None)
            elif key.startswith("split/"):
                self._warm.pop(key, None)
                if body is not None:
                    self._warm[key] = _decode_warm(body)
        self._changed.set()
        self._changed = asyncio.Event()
        if (counts := self._warm_counts()) != self._counts:
            self._counts = counts
            self._on_warm(counts)

    def _warm_counts(self) -> dict[int, int]:
        """Version id -> instances: the most that any entry asks for."""
        counts: dict[int, int] = {}
        for route in self._warm.values():
            function = self._functions.get(f"function/{route.function}")
            for version in function.versions if function else ():
                wanted = route.versions.get(str(version.number), 0)
                if wanted > counts.get(version.id, 0):
                    counts[version.id] = wanted
        return counts

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
