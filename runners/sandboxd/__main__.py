"""The privileged process: `python -m runners.sandboxd [--uid UID]`, started as root.

It makes sandboxes for the runner, which then needs no privilege of its own. It ends with
the process that started it, and takes every cell with it.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

from hotswap import config
from hotswap.core.errors import BackendFailed
from runners.backends.verbs import Opened
from runners.sandboxd import linux
from runners.sandboxd.cells import Cells
from runners.sandboxd.cgroups import Cgroups, find_cgroups
from runners.sandboxd.engine import ENGINES, Engine, installed_engines
from runners.sandboxd.machine import Place
from runners.sandboxd.server import Server

log = logging.getLogger("hotswap.sandboxd")

_ENFORCED = [
    "own pid, network, ipc, uts, mount and cgroup namespaces",
    "a user of its own for every instance",
    "no capabilities",
    "no new privileges",
    "system call allow-list",
    "read-only root without the machine's files",
    "size limit on /tmp",
    "memory limit",
    "CPU limit",
    "process limit",
    "no network",
    "read-only code",
]


def main() -> int:
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s sandboxd %(message)s")
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        log.error("sandboxd must be started as root, on Linux")
        return 1
    linux.die_with_parent(signal.SIGTERM)
    if options.parent not in (0, os.getppid()):
        return 0  # it died before it could be watched: nobody would ever stop this process
    linux.adopt_orphans()
    os.umask(0o022)
    try:
        asyncio.run(_run(_settings(options), options.uid, tuple(options.engine)))
    except (BackendFailed, OSError) as exc:
        log.error("%s", exc)  # noqa: TRY400 - a sentence for the operator, no traceback
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sandboxd", description=__doc__)
    parser.add_argument("--uid", type=int, default=0, help="user the runner runs as")
    parser.add_argument("--parent", type=int, default=0, help="pid of who starts it and may die")
    parser.add_argument("--state-dir", type=Path, help="instead of the configured one")
    parser.add_argument(
        "--engine", action="append", choices=ENGINES, default=[],
        help="use only this engine; may be repeated",
    )  # fmt: skip
    return parser.parse_args()


def _settings(options: argparse.Namespace) -> config.Config:
    settings = config.current()
    if options.state_dir is None:
        return settings
    return replace(settings, core=replace(settings.core, state_dir=options.state_dir))


async def _run(settings: config.Config, uid: int, engines: tuple[str, ...]) -> None:
    state_dir = settings.core.state_dir.resolve()
    place = Place(state_dir)
    lock = place.claim()
    cgroups = find_cgroups()
    orphans = place.purge(cgroups)
    cgroups.make_parent(place.group)
    place.enter()
    candidates = installed_engines(place.base / "engine", engines or ENGINES)
    engine, refused = await place.probe(candidates, cgroups)
    log.info("ready with %s; %d orphans removed", engine.name if engine else "no engine", orphans)
    cells = Cells(
        base=place.base, group=place.group, first_uid=place.first_uid, code_root=state_dir,
        cgroups=cgroups, engine=engine,
    )  # fmt: skip
    server = Server(cells=cells, uid=uid, opened=_opened(place, cgroups, engine, refused))
    with _listen(settings.sandboxd_socket, uid) as listener:
        await _serve_until_told(server.serve(listener))
    await cells.close()
    cgroups.remove(place.group)
    await place.leave()
    os.close(lock)


def _opened(
    place: Place, cgroups: Cgroups, engine: Engine | None, refused: list[str]
) -> Callable[[int], Opened]:
    def opened(number: int) -> Opened:
        return Opened(
            n=number,
            engine=engine.name if engine else "",
            enforced=[*_ENFORCED, f"cgroup version {cgroups.version}"] if engine else [],
            missing=refused if engine is None else [],
            cgroup_parent=place.group,
        )

    return opened


@contextlib.contextmanager
def _listen(path: Path, uid: int) -> Iterator[socket.socket]:
    """A socket that only the runner's user may open; removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=handle)
        listener.bind(f"/proc/self/fd/{handle}/{path.name}")
        os.chown(path.name, uid, -1, dir_fd=handle, follow_symlinks=False)
    finally:
        os.umask(before)
    listener.listen(16)
    try:
        yield listener
    finally:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=handle)
        os.close(handle)


async def _serve_until_told(serving: Coroutine[None, None, None]) -> None:
    """Serve until SIGTERM or SIGINT."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    task = loop.create_task(serving)
    await told.wait()
    task.cancel()


if __name__ == "__main__":
    sys.exit(main())
