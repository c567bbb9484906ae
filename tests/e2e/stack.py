"""The whole platform as bin/up starts it, with a state directory and ports of its own."""

import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from hotswap.supervisor.install import ROOT
from hotswap.supervisor.ports import free_port
from hotswap.supervisor.state import State

READY = "Ctrl-C stops everything"
START_SECONDS, STOP_SECONDS = 120, 90
PYTHON_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Stack:
    """A running platform and clients for it.

    Attributes:
        url, gateway_url: of the portal with the API, and of the data plane.
        api, gateway: clients of the two, with a token of the admin that may do everything.
        password: of the user `admin`.
        temporary: where its processes put temporary files.
    """

    def __init__(self, backend: str, *, runners: int = 1, **settings: str) -> None:
        """Nothing starts yet.

        Args:
            runners: runner processes.
            settings: more of the environment, such as HOTSWAP_GATEWAY_PROCESSES="2".
        """
        self.backend = backend
        self.directory = Path(tempfile.mkdtemp(prefix="hse2e-", dir="/tmp"))  # sockets: short
        self.state = State(self.directory)
        port, gateway_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.gateway_url = f"http://127.0.0.1:{gateway_port}"
        self._arguments = (
            *("--state", str(self.directory), "--backend", backend, "--no-sample"),
            *("--port", str(port), "--gateway-port", str(gateway_port)),
        )
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)  # PostgreSQL runs as another user
        self._environment = _environment(
            {
                "TMPDIR": str(self.temporary),
                "HOTSWAP_RUNNER_PROCESSES": str(runners),
                **settings,
            }
        )
        self._output = self.directory / "up.log"
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._clients: list[httpx2.Client] = []

    def start(self) -> None:
        """Start everything and wait until it serves; starts again after `stop`."""
        already = self.output().count(READY)
        with self._output.open("ab") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "hotswap.supervisor.up", *self._arguments],
                env=self._environment,
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
        self.wait(lambda: self.output().count(READY) > already, START_SECONDS)
        self.token = self.state.token_file.read_text()
        self._hang_up()
        self.api = self.client(self.url)
        self.gateway = self.client(self.gateway_url)

    def client(self, url: str) -> httpx2.Client:
        """A client of its own with the admin's token; closed with the stack."""
        headers = {"Authorization": f"Bearer {self.token}"}
        client = httpx2.Client(base_url=url, headers=headers, timeout=60)
        self._clients.append(client)
        return client

    def stop(self) -> int:
        """Stop everything in order, as Ctrl-C does; the supervisor's exit status."""
        assert self._supervisor is not None
        self._hang_up()
        self._supervisor.send_signal(signal.SIGINT)
        return self._supervisor.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Kill the supervisor with no chance to stop anything."""
        assert self._supervisor is not None
        self._supervisor.kill()
        self._supervisor.wait()

    def close(self) -> None:
        """Stop whatever still runs and remove the directory."""
        self._hang_up()
        if self._supervisor and self._supervisor.poll() is None:
            self._supervisor.terminate()
            self._supervisor.wait(STOP_SECONDS)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _hang_up(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    @property
    def password(self) -> str:
        """Of the first admin, as it was printed on the first start."""
        return self.output().partition("admin / ")[2].split()[0]

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self._supervisor is not None
        return self._supervisor.pid

    def pids(self) -> dict[str, int]:
        """Name -> pid of every process: web, worker, sandboxd, runner (or runner-0, ...), ..."""
        return self.state.children()

    def output(self) -> str:
        """What bin/up printed until now."""
        return self._output.read_text() if self._output.exists() else ""

    def log(self, name: str) -> str:
        """What one process printed until now."""
        path = self.state.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, condition: Callable[[], object], within: float = 10.0) -> None:
        """Wait until it is true; connection errors count as false."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except httpx2.TransportError:
                pass
            assert self._supervisor is not None
            assert self._supervisor.poll() is None, self.output()
            time.sleep(0.02)
        raise AssertionError(f"not true within {within} s\n{self.output()}")

    def deploy(
        self,
        name: str,
        files: Mapping[str, str | bytes],
        *,
        runtime: str = PYTHON_RUNTIME,
        handler: str = "app.handler",
        **settings: Any,
    ) -> None:
        """Create a function from files and wait until the gateway knows it.

        Args:
            settings: more members of the API's body, such as memorySize=256.
        """
        body = {"name": name, "runtime": runtime, "handler": handler, **settings}
        code = {"zipFile": base64.b64encode(package(files)).decode()}
        reply = self.api.post("/api/v1/functions", json={**body, "code": code})
        assert reply.status_code == 201, reply.text
        self.wait(lambda: self.knows(name))

    def upload(self, name: str, files: Mapping[str, str | bytes], **settings: Any) -> str:
        """Upload a new version; its name, such as "v2"."""
        code = {"zipFile": base64.b64encode(package(files)).decode()}
        reply = self.api.post(f"/api/v1/functions/{name}/versions", json={"code": code, **settings})
        assert reply.status_code == 201, reply.text
        version: str = reply.json()["version"]
        return version

    def knows(self, name: str) -> bool:
        """Whether the gateway routes to a function; calls nothing."""
        reply = self.gateway.post(f"/api/v1/functions/{name}/invoke", content=b"not json")
        return reply.status_code not in (401, 404)

    def invoke(self, name: str, payload: object = None, **options: object) -> httpx2.Response:
        """Call a function through the gateway."""
        body = {"payload": payload, **options}
        return self.gateway.post(f"/api/v1/functions/{name}/invoke", json=body)


def package(files: Mapping[str, str | bytes]) -> bytes:
    """A zip of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HOTSWAP_", "DJANGO_"))}
    return {
        **inherited,
        "HOTSWAP_GATEWAY_DRAIN_SECONDS": "5",
        "HOTSWAP_RUNNER_DRAIN_SECONDS": "5",
        "HOTSWAP_RUNNER_BASE_IMAGE": "debian" if makes_images() else "official",
        **settings,
    }


def makes_images() -> bool:
    """Whether this machine can make its images' base itself, without a registry."""
    return os.geteuid() == 0 and shutil.which("debootstrap") is not None
