"""A real gateway and a real runner over a control plane in memory."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from hotswap import config as configuration
from hotswap.supervisor.ports import free_port
from tests.fakes.control_plane import FakeControlPlane

TOKEN = "hs_" + secrets.token_urlsafe(24)


class DataPlane:
    """The processes under test and a client for them.

    Args:
        runners: runner processes; several are named `runner-0`, `runner-1` and so on.
    """

    def __init__(self, backend: str, *, runners: int = 1) -> None:
        self.runners = [f"runner-{n}" for n in range(runners)] if runners > 1 else ["runner"]
        self.state = Path(tempfile.mkdtemp(prefix="hsdp-", dir="/tmp"))
        self.state.chmod(0o711)
        self.port = free_port()
        secret = configuration.Secret(secrets.token_hex(32))
        control_port = free_port()
        self.environment = {
            **os.environ,
            "HOTSWAP_STATE_DIR": str(self.state),
            "HOTSWAP_SECRET_KEY": secret.reveal(),
            "HOTSWAP_WEB_URL": f"http://127.0.0.1:{control_port}",
            "HOTSWAP_GATEWAY_PORT": str(self.port),
            "HOTSWAP_GATEWAY_DRAIN_SECONDS": "5",
            "HOTSWAP_RUNNER_DRAIN_SECONDS": "5",
            "HOTSWAP_RUNNER_BACKEND": backend,
            "HOTSWAP_RUNNER_BASE_IMAGE": "debian",
            "HOTSWAP_RUNNER_ALLOW_UNISOLATED": "true",
            "HOTSWAP_RUNNER_NAME": "runner-under-test",
            "HOTSWAP_RUNNER_PROCESSES": str(runners),
            "HOTSWAP_RUNNER_FREEZE_AFTER_SECONDS": "1",
        }
        token = configuration.Core(secret_key=secret).internal_token
        self.control = FakeControlPlane(control_port, token)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx2.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        )

    def spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.state / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[3],
            )
        self.processes[name] = process
        return process

    def start(self) -> None:
        self.control.__enter__()
        self.control.token(TOKEN)
        if len(self.runners) > 1 and os.geteuid() == 0:  # one alone starts its own
            self.spawn("sandboxd", "runners.sandboxd")
            self.wait((self.state / "run/sandboxd.sock").exists, 20)
        for name in self.runners:
            self.spawn_runner(name)
        self.spawn("gateway", "runners.gateway")
        self.wait(self.is_ready, 20)
        self.control.wait_applied(len(self.runners) + 1)

    def spawn_runner(self, name: str) -> subprocess.Popen[bytes]:
        """Start one of `runners`, also again."""
        return self.spawn(name, "runners.agent", str(self.runners.index(name)))

    def is_ready(self) -> bool:
        """Whether the gateway serves and knows every runner."""
        greeted = self.log("gateway").count("connected to runner") >= len(self.runners)
        return self.client.get("/readyz").status_code == 200 and greeted

    def stop(self) -> None:
        for name in ("gateway", *self.runners, "sandboxd"):
            if (process := self.processes.get(name)) is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.client.close()
        self.control.__exit__()
        shutil.rmtree(self.state, ignore_errors=True)

    def log(self, name: str) -> str:
        return (self.state / f"{name}.log").read_text()

    def wait(self, condition: Callable[[], object], within: float = 5.0) -> None:
        """Wait until it is true; connection errors count as false."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except httpx2.TransportError:
                pass
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended:\n{self.log(name)[-3000:]}"
            time.sleep(0.01)
        logs = "\n".join(f"--- {name}\n{self.log(name)[-2000:]}" for name in self.processes)
        raise AssertionError(f"not true within {within} s\n{logs}")

    def upload(self, function: str, source: str, **settings: object) -> int:
        """Upload one Python file as a version and wait until it can be called."""
        number = self.control.version(function, {"app.py": source}, **settings)  # type: ignore[arg-type]
        self.control.wait_applied(len(self.runners) + 1)
        return number

    def invoke(self, name: str, payload: object = None, **options: object) -> httpx2.Response:
        return self.client.post(
            f"/api/v1/functions/{name}/invoke", json={"payload": payload, **options}
        )

    def raw(self, name: str, content: bytes = b"", **headers: str) -> httpx2.Response:
        named = {f"X-HotSwap-{key.replace('_', '-')}": value for key, value in headers.items()}
        return self.client.post(
            f"/api/v1/functions/{name}/invoke",
            content=content,
            headers={"X-HotSwap-Mode": "raw", **named},
        )


@pytest.fixture(scope="session")
def backend() -> str:
    """The isolation backend that the data plane's tests run on."""
    usual = "sandbox" if os.geteuid() == 0 else "process"
    return os.environ.get("DATAPLANE_BACKEND", usual)


@pytest.fixture(scope="session")
def plane(backend: str) -> Iterator[DataPlane]:
    """One data plane for all tests of a session; they use functions of their own."""
    yield from _running(DataPlane(backend))


@pytest.fixture
def own_plane(backend: str) -> Iterator[DataPlane]:
    """A data plane for a test that breaks it."""
    yield from _running(DataPlane(backend))


def _running(plane: DataPlane) -> Iterator[DataPlane]:
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
