"""Gateway and runner alone, over a control plane in memory: starts in two seconds.

For work on the hot path (`bin/bench --data-plane`). The goals are for the whole stack.
"""

from typing import Any

import httpx2
import msgspec

from hotswap.wire.table import FunctionRoute, VersionRoute
from tests.bench import processes
from tests.bench.figures import NotMeasured
from tests.bench.platform import ROLES, wait, wait_routed
from tests.bench.samples import Sample
from tests.integration.dataplane.conftest import TOKEN, DataPlane

_SEED_IDS = 10_000_000  # far from those that the control plane in memory gives out


class BareDataPlane:
    """A `Platform` without web, workers and stores."""

    def __init__(self, backend: str) -> None:
        self._plane = DataPlane(backend)
        self._plane.environment["HOTSWAP_RUNNER_FREEZE_AFTER_SECONDS"] = "5"
        self.gateway_url = self._plane.url
        self.token = TOKEN
        self._seeded = 0

    def start(self) -> None:
        self._plane.start()

    def stop(self) -> None:
        self._plane.stop()

    def deploy(self, name: str, sample: Sample, **settings: Any) -> int:
        entry = settings.pop("entry", "handler")
        number = self._plane.control.version(
            name, sample.files, runtime=sample.runtime, handler=sample.entry(entry),
            timeout_ms=60_000, idle_timeout_ms=1_000 * settings.pop("idle_seconds", 300),
            **{"memory_mib": 256, **settings},
        )  # fmt: skip
        wait_routed(self, name, number)
        return number

    def pids(self, role: str) -> list[int]:
        running = {name: process.pid for name, process in self._plane.processes.items()}
        if role == "instances":
            return processes.bootstraps(self._plane.state.name, running.values())
        return [pid for name, pid in running.items() if name.startswith(ROLES[role])]

    def seed(self, functions: int) -> None:
        control = self._plane.control
        for number in range(self._seeded, functions):
            version = VersionRoute(
                id=_SEED_IDS + number, number=1, runtime="python3.11", handler="app.handler",
                code_sha256="0" * 64, memory_mib=128, timeout_ms=5_000,
            )  # fmt: skip
            route = FunctionRoute(
                id=_SEED_IDS + number, name=f"seed-{number}", latest=1, versions=(version,),
                aliases={"production": ((1, 10_000),)}, max_instances=10,
                reserved_concurrency=None, max_queue=100, idle_timeout_ms=300_000,
            )  # fmt: skip
            body = msgspec.json.encode(route)
            control._put(f"function/{route.name}", body, body)
        self._seeded = max(functions, self._seeded)
        wait(self._is_acked, 60, f"{functions} functions in the table")

    def portal(self) -> httpx2.Client:
        raise NotMeasured("the data plane alone has no portal")

    def _is_acked(self) -> bool:
        control = self._plane.control
        return sum(acked >= control.revision for acked in control.acked.values()) >= 2
