"""The system that is measured, and what a benchmark may ask of it."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx2

from hotswap.supervisor.install import ROOT
from tests.bench import processes
from tests.bench.caller import Caller
from tests.bench.figures import NotMeasured
from tests.bench.load import Place
from tests.bench.samples import Sample
from tests.e2e.stack import Stack

ROLES = {"gateway": ("gateway",), "runner": ("runner", "sandboxd")}
"""Role -> how the names of its processes begin; the runner has a privileged helper."""

_API_NAMES = {
    "memory_mib": "memorySize", "max_instances": "maxInstances", "max_queue": "maxQueue",
    "idle_seconds": "idleTimeout",
}  # fmt: skip


class Platform(Protocol):
    """What a benchmark may ask of the system under test."""

    gateway_url: str
    token: str

    def deploy(self, name: str, sample: Sample, **settings: Any) -> int:
        """Upload a version that a call of the gateway finds from now on; its number.

        Args:
            settings: `entry`, the handler's name in the sample; `memory_mib`, `max_instances`,
                `max_queue`, `idle_seconds`; what is not given is the platform's default.
        """

    def pids(self, role: str) -> list[int]:
        """Processes of a role: gateway, runner, instances."""

    def seed(self, functions: int) -> None:
        """Have so many functions in the routing table that are never called."""

    def portal(self) -> httpx2.Client:
        """A client that is signed in to the portal.

        Raises:
            NotMeasured: this system has none.
        """

    def start(self) -> None: ...

    def stop(self) -> None: ...


def place(platform: Platform, function: str) -> Place:
    """Where wrk calls a function."""
    return Place(f"{platform.gateway_url}/api/v1/functions/{function}/invoke", platform.token)


def caller(platform: Platform) -> Caller:
    """A caller for single calls."""
    return Caller(platform.gateway_url, platform.token)


def wait(condition: Callable[[], object], within: float, what: str) -> None:
    """Wait until it is true; raise NotMeasured, naming `what`, when it does not come true."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise NotMeasured(f"{what}: not within {within:g} s")
        time.sleep(0.02)


class WholeStack:
    """Web, workers, stores, gateway and runner, as `bin/up` starts them."""

    def __init__(self, backend: str) -> None:
        self._stack = Stack(backend)
        self.gateway_url = self._stack.gateway_url
        self.token = ""
        self._seeded = 0

    def start(self) -> None:
        self._stack.start()
        self.token = self._stack.token

    def stop(self) -> None:
        self._stack.close()

    def deploy(self, name: str, sample: Sample, **settings: Any) -> int:
        entry = settings.pop("entry", "handler")
        if self._call("GET", f"/{name}", allow=404).status_code == 404:
            document = {
                "name": name, "runtime": sample.runtime, "handler": sample.entry(entry),
                "files": sample.files, "timeout": 60,
                **{_API_NAMES[setting]: value for setting, value in settings.items()},
            }  # fmt: skip
            self._call("POST", "", document)
            number = 1
        else:
            made = self._call("POST", f"/{name}/versions", {"files": sample.files})
            number = int(made.json()["version"].removeprefix("v"))
        wait_routed(self, name, number)
        return number

    def _call(
        self, method: str, path: str, document: dict[str, Any] | None = None, allow: int = 0
    ) -> httpx2.Response:
        reply = self._stack.api.request(method, f"/api/v1/functions{path}", json=document)
        if reply.status_code >= 400 and reply.status_code != allow:
            raise NotMeasured(
                f"{method} {path} was refused ({reply.status_code}): {reply.text[:500]}"
            )
        return reply

    def pids(self, role: str) -> list[int]:
        running = self._stack.pids()
        if role == "instances":
            return processes.bootstraps(self._stack.directory.name, self.pids("runner"))
        return [pid for name, pid in running.items() if name.startswith(ROLES[role])]

    def seed(self, functions: int) -> None:
        missing = functions - self._seeded
        if missing <= 0:
            return
        # The web process was told where its database is; the command has to be told the same.
        environment = _environment_of(self._stack.pids()["web"])
        command = ["manage.py", "seed_functions", "--count", str(missing)]
        subprocess.run(
            [sys.executable, *command, "--prefix", f"seed{self._seeded}"],
            cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._seeded = functions
        wait(lambda: self._routed() >= functions, 120, f"{functions} functions routed")

    def _routed(self) -> int:
        text = self._stack.gateway.get("/metrics").text
        found = re.search(r"^functions_count (\d+)", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def portal(self) -> httpx2.Client:
        client = httpx2.Client(base_url=self._stack.url, follow_redirects=True, timeout=60)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get("/login").text)
        form = {
            "username": "admin", "password": self._stack.password,
            "csrfmiddlewaretoken": token[1] if token else "",
        }  # fmt: skip
        client.post("/login", data=form, headers={"Referer": f"{self._stack.url}/login"})
        return client


def _environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def warm_up(platform: Platform, function: str, body: bytes) -> None:
    """Call once and wait for the answer, however long the first instance takes."""
    with caller(platform) as calls:
        answer = calls.call(function, body)
    if answer.status != 200:
        raise NotMeasured(f"{function} answered {answer.status}: {answer.body[:500]!r}")


def wait_routed(platform: Platform, name: str, number: int) -> None:
    """Wait until the gateway can route to a version, without starting an instance of it.

    A call to an alias that does not exist is refused with the names that do.
    """
    with caller(platform) as calls:
        wait(lambda: _knows(calls, name, number), 60, f"version {number} of {name} routed")


def _knows(calls: Caller, name: str, number: int) -> bool:
    answer = calls.call(name, alias="no-such-alias")
    return re.search(rf"\bv{number}\b", answer.body.decode()) is not None
