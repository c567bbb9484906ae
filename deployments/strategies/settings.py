"""Reads a strategy's settings as callers spell them, and remembers every fault at once."""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeGuard, TypeVar

from deployments import durations
from deployments.types import ALL, Bps
from hotswap.core.errors import InvalidInput

Choice = TypeVar("Choice", bound=StrEnum)
Default = TypeVar("Default", None, float, int)

_UNIT: Final = re.compile(r"(header|cookie):([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})", re.IGNORECASE)
_ROUNDING: Final = 1e-6


def joined(names: Collection[object]) -> str:
    """`a, b or c`."""
    *first, last = [str(name) for name in names]
    return f"{', '.join(first)} or {last}" if first else last


def nearest(name: str, known: Collection[str]) -> str:
    """A hint at the known name that `name` may have meant, or at all of them."""
    folded = {item.casefold(): item for item in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    if close:
        return f"Did you mean {folded[close[0]]}?"
    return f"Known are {', '.join(sorted(known))}."


class Settings:
    """One strategy's settings. A method asks for one key and always returns a usable value.

    Whatever was wrong is raised by `check()`, as is every key that nobody asked for.
    """

    def __init__(self, given: Mapping[str, object], path: str = "") -> None:
        self._given = given
        self._path = path
        self._asked: set[str] = set()
        self._faults: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._given

    def fault(self, key: str, message: str) -> None:
        """Note what is wrong with a key; its first fault counts."""
        self._faults.setdefault(self._path + key, message)

    def check(self) -> None:
        """Raise InvalidInput with all faults in `errors`, the first one in the sentence."""
        self.note_unknown()
        self.refuse()

    def refuse(self) -> None:
        """Raise the faults found so far."""
        if not self._faults:
            return
        field, message = next(iter(self._faults.items()))
        raise InvalidInput(
            f"{field}: {message}",
            errors=[{"field": key, "message": text} for key, text in self._faults.items()],
        )

    def note_unknown(self) -> None:
        """Find fault with every key that nobody asked for."""
        for key in self._given:
            if key not in self._asked:
                self.fault(key, f"There is no such setting here. {nearest(key, self._asked)}")

    def raw(self, key: str) -> object:
        """What stands there; None when the key is absent."""
        return self._given[key] if key in self else None

    def number(self, key: str, default: Default, *, least: float, most: float) -> float | Default:
        """A number from `least` to `most`."""
        if key not in self:
            return default
        value = self._given[key]
        if not _is_number(value):
            self.fault(key, "It must be a number.")
        elif not least <= value <= most:
            self.fault(key, f"It must be from {least:,} to {most:,}.")
        else:
            return float(value)
        return default

    def whole(self, key: str, default: Default, *, least: int, most: int) -> int | Default:
        """A whole number from `least` to `most`."""
        value = self.number(key, None, least=least, most=most)
        if value is None:
            return default
        if not value.is_integer():
            self.fault(key, "It must be a whole number.")
            return default
        return int(value)

    def percent(self, key: str, default: Bps, *, least: Bps, most: Bps) -> Bps:
        """A percentage with up to two decimals, as basis points; so are the bounds."""
        if key not in self:
            return default
        share = self.share(key, self._given[key], least=least, most=most)
        return default if share is None else share

    def share(self, key: str, value: object, *, least: Bps, most: Bps) -> Bps | None:
        """The same for a value inside of `key`; None after a fault."""
        if not _is_number(value):
            self.fault(key, "It must be a percentage, such as 10.")
        elif not least / 100 <= value <= most / 100:
            self.fault(key, f"It must be from {least / 100:g} to {most / 100:g} %.")
        elif abs(round(value * 100) - value * 100) > _ROUNDING:
            self.fault(key, "A percentage has at most two decimals.")
        else:
            return round(value * 100)
        return None

    def seconds(self, key: str, default: float, *, least: float = 0.0) -> float:
        """An ISO-8601 duration of `least` seconds to 30 days, in seconds."""
        if key not in self:
            return default
        value = self._given[key]
        if not isinstance(value, str):
            self.fault(key, "It must be an ISO-8601 duration, such as PT10M.")
            return default
        try:
            seconds = durations.parse(value).total_seconds()
        except InvalidInput as exc:
            self.fault(key, exc.detail)
            return default
        if seconds < least:
            self.fault(key, f"It must be at least {durations.text(least)}.")
            return default
        return seconds

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self.raw(key) if key in self else default
        if not isinstance(value, bool):
            self.fault(key, "It must be true or false.")
            return default
        return value

    def choice(self, key: str, default: Choice, among: Sequence[Choice]) -> Choice:
        """One of some words, in any case."""
        if key not in self:
            return default
        value = str(self._given[key]).lower()
        for item in among:
            if item == value:
                return item
        self.fault(key, f"It must be {joined(among)}.")
        return default

    def items(self, key: str) -> list[object] | None:
        """A list that is not empty; None when it is absent or wrong."""
        if key not in self:
            return None
        value = self._given[key]
        if not isinstance(value, list | tuple) or not value:
            self.fault(key, "It must be a list with at least one item.")
            return None
        return list(value)

    def mapping(self, key: str) -> Mapping[str, object] | None:
        """An object; None when it is absent or wrong."""
        if key not in self:
            return None
        value = self._given[key]
        if not isinstance(value, Mapping):
            self.fault(key, "It must be an object.")
            return None
        return value

    def within(self, key: str) -> "Settings":
        """The settings inside of one key, whose faults are this one's too."""
        inner = Settings(self.mapping(key) or {}, f"{self._path}{key}.")
        inner._faults = self._faults
        return inner

    def unit(self, key: str, default: str) -> str:
        """Where a call's unit is read, as `hotswap.wire.rollouts.SplitRoute.unit` spells it."""
        if key not in self:
            return default
        value = self._given[key]
        if value == "user":
            return "user"
        found = _UNIT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.fault(key, "It must be header:<name>, cookie:<name> or user.")
            return default
        kind, name = found[1].lower(), found[2]
        return f"{kind}:{name.lower() if kind == 'header' else name}"


def percent_text(share: Bps) -> str:
    """`10 %`, `0.25 %`."""
    return f"{share / (ALL / 100):g} %"


def _is_number(value: object) -> TypeGuard[int | float]:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))
