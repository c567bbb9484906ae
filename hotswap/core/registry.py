"""Named plugins of one kind."""

from collections.abc import Callable
from typing import Generic, TypeVar

from hotswap.core.errors import UnknownPlugin

T = TypeVar("T")


class Registry(Generic[T]):
    """Plugins by name; names are part of the API, so a clash or a typo is an error."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Keep the decorated item under `name`; raise ValueError when it is taken."""

        def keep(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self._kind} {name!r} is registered twice")
            self._items[name] = item
            return item

        return keep

    def get(self, name: str) -> T:
        """Return the plugin, or raise UnknownPlugin naming the known ones."""
        try:
            return self._items[name]
        except KeyError:
            known = ", ".join(self.names())
            raise UnknownPlugin(f"{self._kind} {name!r} is not one of: {known}") from None

    def names(self) -> list[str]:
        return sorted(self._items)
