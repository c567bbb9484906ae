"""What a benchmark works with: the options of this run and the systems under test."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from tests.bench.platform import Platform


class Lab:
    """Starts a system when the first benchmark asks for it; stops all of them at the end.

    Args:
        make: makes a system under test, not started.
        quick: fewer and shorter runs: to see that it works, not to quote.
    """

    def __init__(self, make: Callable[[], Platform], *, quick: bool) -> None:
        self._make = make
        self.quick = quick
        self._running: dict[str, Platform] = {}
        self._stack = ExitStack()

    @property
    def platform(self) -> Platform:
        """The system that most benchmarks share."""
        return self._get("platform")

    @property
    def crowded(self) -> Platform:
        """A second system, for those that fill it with functions."""
        return self._get("crowded platform")

    def _get(self, name: str) -> Platform:
        if name not in self._running:
            self.say(f"starting the {name}")
            platform = self._make()
            self._stack.callback(platform.stop)
            platform.start()
            self._running[name] = platform
        return self._running[name]

    def rounds(self, full: int) -> range:
        """Repetitions of a measurement."""
        return range(max(2, full // 5) if self.quick else full)

    def seconds(self, full: float) -> float:
        """Length of one measurement."""
        return max(1.0, full / 3) if self.quick else full

    def say(self, text: str) -> None:
        """Progress, for people, beside the results."""
        sys.stderr.write(f"  {text}\n")

    def __enter__(self) -> "Lab":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
