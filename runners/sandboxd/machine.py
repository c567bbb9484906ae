"""Getting the machine ready for cells, and clearing what an earlier process left there."""

import asyncio
import contextlib
import fcntl
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from hotswap.core.errors import BackendFailed
from runners.backends.bundle import CellPlace, make_root, write_bundle
from runners.backends.programs import Program
from runners.backends.rendezvous import installation_mark, private_directory
from runners.sandboxd import linux
from runners.sandboxd.cgroups import PARENT, Cgroups
from runners.sandboxd.engine import Engine
from runtimes import catalog

_RUN: Final = Path("/run/hotswap")
_UNIFIED: Final = "/sys/fs/cgroup/unified"
_FIRST_UID: Final = 1_900_000_000  # above what distributions and systemd hand out
_UIDS_EACH: Final = 65_536
_INSTALLATIONS: Final = 3_000
_PROBE: Final = "probe"
_FOLDERS: Final = ("cells", "bundles", "roots", "engine")
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64")


class Place:
    """Where one installation keeps its cells on this machine, told apart by `state_dir`.

    Everything lies in `/run`, owned by root: the runner's own directories could change
    under the privileged process's hands.
    """

    def __init__(self, state_dir: Path) -> None:
        mark = installation_mark(state_dir)
        self.base = _RUN / mark
        self.group = f"{PARENT}/{mark}"
        self.first_uid = _FIRST_UID + int(mark, 16) % _INSTALLATIONS * _UIDS_EACH

    def claim(self) -> int:
        """Make the directories and lock them; the lock lasts as long as the descriptor.

        Raises:
            BackendFailed: another privileged process of this installation runs.
        """
        _RUN.mkdir(mode=0o711, exist_ok=True)
        private_directory(self.base)
        lock = os.open(self.base / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(lock)
            raise BackendFailed("Another sandboxd of this installation is running.") from exc
        return lock

    def purge(self, cgroups: Cgroups) -> int:
        """Kill and remove every cell an earlier process left; return how many there were."""
        orphans = cgroups.children(self.group)
        for group in orphans:
            cgroups.kill(group)
            cgroups.remove(group)
        for path in sorted(_mounted_below(self.base), reverse=True):
            linux.unmount(path)
        for name in _FOLDERS:
            shutil.rmtree(self.base / name, ignore_errors=True)
            (self.base / name).mkdir(mode=0o700)
        return len(orphans)

    def enter(self) -> None:
        """Share the cells' directory with the host, and take a mount namespace of our own.

        crun refuses a machine whose `unified` hierarchy carries a controller beside
        version 1; in our namespace that hierarchy is not mounted.
        """
        linux.share_directory(str(self.base / "cells"))
        self._host_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        hybrid = os.path.ismount(_UNIFIED) and os.path.ismount("/sys/fs/cgroup/memory")
        linux.enter_own_mounts([_UNIFIED] if hybrid else [])
        if hybrid:
            shutil.rmtree(_UNIFIED + self.group, ignore_errors=True)

    async def leave(self) -> None:
        """Undo `enter` for the host, and remove what is kept here but the lock.

        A process of several threads cannot go back to the host's mount namespace itself.
        """
        handle = self._host_mounts
        umount = await asyncio.create_subprocess_exec(
            "nsenter", f"--mount=/proc/self/fd/{handle}", "umount", "--lazy",
            str(self.base / "cells"), pass_fds=[handle], stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await umount.wait()
        os.close(handle)
        linux.unmount(str(self.base / "cells"))
        for name in _FOLDERS:
            shutil.rmtree(self.base / name, ignore_errors=True)

    async def probe(
        self, engines: list[Engine], cgroups: Cgroups
    ) -> tuple[Engine | None, list[str]]:
        """The first engine that runs a cell here, and what the others said."""
        refused = []
        for engine in engines:
            try:
                await self._try(engine, cgroups)
            except (BackendFailed, OSError) as exc:
                refused.append(f"{engine.name}: {exc}")
            else:
                return engine, refused
        return None, refused

    async def _try(self, engine: Engine, cgroups: Cgroups) -> None:
        """Run a cell with every restriction, whose program ends at once."""
        program = _harmless_program()
        root, meeting = self.base / "roots" / _PROBE, self.base / "cells" / _PROBE
        bundle = self.base / "bundles" / f"{_PROBE}-{engine.name}"
        make_root(root, program)
        meeting.mkdir(exist_ok=True)
        engine.state.mkdir(parents=True, exist_ok=True)
        place = CellPlace(_PROBE, root, meeting, self.first_uid, f"{self.group}/{_PROBE}")
        write_bundle(bundle, place, program)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                pid = await engine.run(_PROBE, bundle, writer)
            finally:
                os.close(writer)
            said = await asyncio.to_thread(os.read, reader, 100)
            if said != b"works\n":
                raise BackendFailed(f"a sandbox said {said!r}")
            with contextlib.suppress(ChildProcessError):
                await asyncio.to_thread(os.waitpid, pid, 0)
        finally:
            os.close(reader)
            cgroups.kill(f"{self.group}/{_PROBE}")
            cgroups.remove(f"{self.group}/{_PROBE}")
            engine.forget(_PROBE)


def _harmless_program() -> Program:
    """`echo`, in the clothes of a runtime."""
    runtime = next(iter(catalog.all_runtimes().values()))
    folders = tuple(path for path in map(Path, _SYSTEM) if path.is_dir())
    path = Path("/usr/bin/echo")
    runtime = replace(runtime, command=(str(path), "works"))
    return Program(
        replace(runtime, command=(str(path), "works")), interpreter=path, visible=folders
    )


def _mounted_below(base: Path) -> list[str]:
    mounts = (line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [path for path in mounts if path.startswith(f"{base}/")]
