"""The state directory: what this machine keeps between runs, and who is using it now."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hotswap.supervisor.failures import CannotStart
from hotswap.supervisor.processes import kill_group, wait_gone

_NEEDED_MIB = 500
_KEPT_LOG_BYTES = 8 * 1024 * 1024


class State:
    """One directory, used by one supervisor at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.run = directory / "run"
        self.token_file = directory / "token"
        self._lock = directory / "lock"
        self._children = self.run / "children.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory, hold it for this process, clear what a killed one left.

        Raises:
            CannotStart: no space, missing rights, or another supervisor holds it.
        """
        self._make()
        with self._lock.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(
                    f"{self.directory} is in use by another bin/up (pid {self.holder()}). Stop it"
                    " with bin/up --stop, or choose another place with bin/up --state DIRECTORY"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self._end_leftovers()
            try:
                yield
            finally:
                lock.truncate(0)

    def holder(self) -> int | None:
        """The pid of the supervisor that runs with this directory; None: none does."""
        try:
            with self._lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            text = self._lock.read_text()
            return int(text) if text.isdigit() else None
        return None

    def secret_key(self) -> str:
        """The root of all derived keys, made on the first start, readable by this user only."""
        path = self.directory / "secret-key"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(48))
        return path.read_text()

    def remember_children(self, pids: Mapping[str, int]) -> None:
        """Note who was started, so that the next start can end those that outlive this one."""
        known = {name: [pid, _started_at(pid)] for name, pid in pids.items()}
        write_private(self._children, json.dumps(known))

    def children(self) -> dict[str, int]:
        """Name -> pid of the processes that were started last and still run."""
        try:
            known: dict[str, tuple[int, str]] = json.loads(self._children.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        # A pid alone may have gone to another program since.
        return {name: pid for name, (pid, at) in known.items() if at and _started_at(pid) == at}

    def log(self, name: str) -> Path:
        """The log file of one process; the last one is set aside when it has grown large."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > _KEPT_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def _make(self) -> None:
        try:
            for folder in (self.directory, self.logs, self.run):
                folder.mkdir(parents=True, exist_ok=True)
            # Sandboxes and PostgreSQL run as other users and pass through; nobody may list it.
            self.directory.chmod(0o711)
            self.logs.chmod(0o700)
            free_mib = shutil.disk_usage(self.directory).free // 2**20
        except OSError as error:
            raise CannotStart(
                f"{self.directory} cannot be used: {error.strerror}. It must be writable for this"
                " user; choose another place with bin/up --state DIRECTORY"
            ) from None
        if free_mib < _NEEDED_MIB:
            raise CannotStart(
                f"Only {free_mib} MiB are free on the disk of {self.directory}; {_NEEDED_MIB} MiB"
                " are needed. Free some space, or choose another disk: bin/up --state DIRECTORY"
            )

    def _end_leftovers(self) -> None:
        """End what a killed supervisor left: the kernel asked it to stop, this makes sure."""
        leftovers = self.children()
        for name, pid in leftovers.items():
            patience = 20.0 if name == "postgres" else 3.0
            if not wait_gone(pid, seconds=patience):
                kill_group(pid)
                wait_gone(pid, seconds=5)
        self._children.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file that only this user can read, in one step."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def stop_holder(state: State, seconds: float = 90) -> bool:
    """Ask the running supervisor to stop and wait for it; false when none runs."""
    pid = state.holder()
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while state.holder() is not None:
        if time.monotonic() > deadline:
            raise CannotStart(f"bin/up (pid {pid}) did not stop within {seconds:.0f} s.")
        time.sleep(0.1)
    return True


def _started_at(pid: int) -> str:
    """When a process began, in clock ticks since boot; empty when it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may contain anything
    return "" if fields[0] == "Z" else fields[19]
