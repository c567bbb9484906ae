"""ISO-8601 durations of fixed length: `P2W`, `P1DT12H`, `PT10M`, `PT0.5S`."""

import re
from datetime import timedelta
from typing import Final

from hotswap.core.errors import InvalidInput

LONGEST: Final = timedelta(days=30)

_N: Final = r"([0-9]{1,9})"
_FIXED: Final = re.compile(
    rf"P(?=[0-9T])(?:{_N}W)?(?:{_N}D)?"
    rf"(?:T(?=[0-9])(?:{_N}H)?(?:{_N}M)?(?:([0-9]{{1,9}}(?:[.,][0-9]{{1,6}})?)S)?)?"
)
_WITH_CALENDAR: Final = re.compile(r"P(?:[0-9.,]+[YMWD])*[0-9.,]+[YM].*")
_NEGATIVE: Final = re.compile(r"-P.*|P.*-[0-9].*")
_UNITS: Final = (("D", 86_400), ("H", 3_600), ("M", 60))


def parse(text: str) -> timedelta:
    """Read a duration of 0 to 30 days.

    Raises:
        InvalidInput: it is none, is negative, is too long, or has years or months.
    """
    if _NEGATIVE.fullmatch(text):
        raise InvalidInput(f"{_shown(text)} is negative.")
    if _WITH_CALENDAR.fullmatch(text):
        raise InvalidInput(
            f"{_shown(text)} has years or months, and their length is not fixed; "
            "give weeks, days, hours, minutes or seconds."
        )
    found = _FIXED.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{_shown(text)} is not an ISO-8601 duration such as PT10M or PT1H30M.")
    weeks, days, hours, minutes = (int(part or 0) for part in found.groups()[:4])
    whole, _, fraction = (found[5] or "0").replace(",", ".").partition(".")
    seconds = ((weeks * 7 + days) * 24 + hours) * 3_600 + minutes * 60 + int(whole)
    micros = seconds * 1_000_000 + int(fraction.ljust(6, "0"))
    if micros > LONGEST // timedelta(microseconds=1):
        raise InvalidInput(f"{_shown(text)} is more than {LONGEST.days} days.")
    return timedelta(microseconds=micros)


def text(seconds: float) -> str:
    """Write a duration of so many seconds, to the microsecond: 90 is `PT1M30S`."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    parts = []
    for unit, size in _UNITS:
        count, whole = divmod(whole, size)
        parts.append(f"{count}{unit}" if count else "")
    if whole or micros:
        parts.append(f"{whole}.{micros:06d}".rstrip("0").rstrip(".") + "S")
    clock = "".join(parts[1:])
    return f"P{parts[0]}T{clock}" if clock else f"P{parts[0]}" if parts[0] else "PT0S"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
