"""One child process: how it is started, when it is ready, how it is stopped.

A child is the leader of its own session, so that a Ctrl-C in the terminal reaches the
supervisor alone, which then stops the children in order. The kernel signals a child when
its supervisor dies in any way (`PR_SET_PDEATHSIG`).
"""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hotswap.supervisor.failures import CannotStart

Ready = Callable[["Process"], bool]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run.

    Attributes:
        ready: true once the process serves; asked again and again after the start.
        log: its output is appended there.
        stop_signal: asks it to finish; the same signal comes when the supervisor is killed.
        stop_seconds: how long it may take to finish before it is killed.
        user: numeric user and group to run as; None keeps ours.
    """

    name: str
    argv: tuple[str, ...]
    ready: Ready
    log: Path
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0
    user: tuple[int, int] | None = None


class Process:
    """A running `Spec`; may be started again after it ended."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """None before the first start."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Spawn it. Call from the main thread: the death signal follows the spawning thread."""
        spec = self.spec
        user, group = spec.user or (None, None)
        with spec.log.open("ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                spec.argv,
                cwd=spec.cwd,
                env={**os.environ, **spec.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_tied_to_this_process(spec.stop_signal),  # noqa: PLW1509  one thread
                user=user,
                group=group,
                extra_groups=None if user is None else (),
            )

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll() if self._child else None

    def wait_ready(self) -> None:
        """Block until it serves.

        Raises:
            CannotStart: it ended, or took longer than `ready_seconds`; with its last output.
        """
        deadline = time.monotonic() + self.spec.ready_seconds
        while not self.spec.ready(self):
            if self.exit_code() is not None:
                raise CannotStart(f"{self.spec.name} ended at its start.\n{self.last_output()}")
            if time.monotonic() > deadline:
                late = f"{self.spec.name} was not ready after {self.spec.ready_seconds:.0f} s."
                raise CannotStart(f"{late}\n{self.last_output()}")
            time.sleep(0.01)

    def said(self, text: str) -> bool:
        """Whether its output since the last start contains the text."""
        with self.spec.log.open("rb") as log:
            log.seek(self._log_start)
            return text.encode() in log.read()

    def last_output(self) -> str:
        """The end of its log, indented, with the log's path."""
        size = self.spec.log.stat().st_size
        with self.spec.log.open("rb") as log:
            log.seek(max(0, size - 2_000))
            lines = log.read().decode(errors="replace").splitlines()[-15:]
        return "\n".join([f"Its log {self.spec.log} ends with:", *(f"  {line}" for line in lines)])

    def ask_to_stop(self) -> None:
        """Send its stop signal; nothing happens when it has ended."""
        if self._child and self._child.poll() is None:
            self._child.send_signal(self.spec.stop_signal)

    def stop(self) -> None:
        """Stop it and whatever it left behind in its session; safe to repeat."""
        if self._child is None:
            return
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(self.spec.stop_seconds)
        kill_group(self._child.pid)
        self._child.wait()


def says(text: str) -> Ready:
    """Ready once its output contains the text."""
    return lambda process: process.said(text)


def serves(port: int, path: str) -> Ready:
    """Ready once `GET path` on this port of the loopback interface is answered with 200."""

    def ready(_: Process) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ready


def listens(path: Path) -> Ready:
    """Ready once somebody accepts connections on this unix socket of packets."""
    return lambda _: answers(path)


def answers(path: Path) -> bool:
    """Whether somebody accepts connections on this unix socket of packets."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_gone(pid: int, *, seconds: float) -> bool:
    """Wait for the end of a process that is not our child; whether it ended in time."""
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill_group(pid: int) -> None:
    """Kill what is left of the session that `pid` led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tied_to_this_process(death_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child does before exec so that it does not outlive this process."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return tie
