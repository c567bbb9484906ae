"""What the terminal shows: one line per step with its time, and sentences between them."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show the step's title, run the block, add how long it took or that it failed."""
    sys.stdout.write(f"  {title:<44}")
    sys.stdout.flush()
    started = time.monotonic()
    try:
        yield
    except BaseException:
        sys.stdout.write("failed\n")
        raise
    sys.stdout.write(f"{time.monotonic() - started:6.1f} s\n")
    sys.stdout.flush()


def say(sentence: str) -> None:
    """One line of its own."""
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def detail(line: str) -> None:
    """A line inside a step that takes long."""
    sys.stdout.write(f"\n    {line}")
    sys.stdout.flush()
