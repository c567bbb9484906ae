"""Load from wrk, which needs less CPU per request than anything it is pointed at."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import NotMeasured

_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw.

    Attributes:
        calls: answers of any status.
        refused: answers with a status of 400 or more.
        broken: connections that failed, and calls without an answer in time.
    """

    calls: int
    refused: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def good_per_second(self) -> float:
        return (self.calls - self.refused) / self.seconds


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes. `token`: empty where none is asked for."""

    url: str
    token: str = ""


def require_wrk() -> None:
    """Raise NotMeasured, with what to do about it, when there is no load generator."""
    if shutil.which("wrk") is None:
        raise NotMeasured("wrk, the load generator, is not installed: apt-get install wrk")


def generate(place: Place, body: bytes, *, connections: int, seconds: float) -> Load:
    """Keep so many connections busy for so long, one request after the other on each."""
    done = subprocess.run(
        [
            "wrk", "--threads=1", f"--connections={connections}",
            f"--duration={max(1, round(seconds))}s",  # it takes whole seconds only
            "--timeout=30s", f"--script={_SCRIPT}", place.url,
        ],
        env={**os.environ, "BENCH_BODY": body.decode(), "BENCH_TOKEN": place.token},
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    return Load(**json.loads(done.stderr.splitlines()[-1]))


def generate_served(place: Place, body: bytes, *, connections: int, seconds: float) -> Load:
    """As `generate`, where every call has to be answered well.

    Raises:
        NotMeasured: one was not, or there was none.
    """
    load = generate(place, body, connections=connections, seconds=seconds)
    if load.refused or load.broken or not load.calls:
        raise NotMeasured(f"{place.url} did not serve every call: {load}")
    return load
