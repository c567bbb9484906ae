"""The OCI engine that makes cells: crun, else runc."""

import asyncio
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotswap.core.errors import BackendFailed
from runners.sandboxd import linux

ENGINES: Final = ("crun", "runc")
_SECONDS: Final = 20.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine, with its own state directory.

    Attributes:
        options: global options, such as how control groups are managed.
    """

    name: str
    path: str
    state: Path
    options: tuple[str, ...] = ()

    async def run(self, cell_id: str, bundle: Path, output: int) -> int:
        """Start the bundle with `output` as its stdout and stderr; return its first pid.

        Raises:
            BackendFailed: the engine refused; its own words are in the message.
        """
        pid_file, log = bundle / "pid", bundle / "log"
        code = await self._call(
            ["--log", str(log)],
            ["run", "--detach", "--bundle", str(bundle), "--pid-file", str(pid_file), cell_id],
            output,
        )
        if code != 0:
            said = log.read_text(errors="replace").strip() if log.exists() else ""
            raise BackendFailed(f"{self.name} could not start a sandbox: {said or code}")
        return int(pid_file.read_text())

    def forget(self, cell_id: str) -> None:
        """Remove what the engine keeps of a cell whose processes and groups are gone.

        Its own `delete` does the same, but starts a process and, with crun, waits 100 ms.
        """
        shutil.rmtree(self.state / cell_id, ignore_errors=True)

    async def _call(self, options: list[str], arguments: list[str], output: int) -> int:
        process = await asyncio.create_subprocess_exec(
            self.path,
            "--root",
            str(self.state),
            *self.options,
            *options,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": _PATH},
        )
        try:
            async with asyncio.timeout(_SECONDS):
                code = await process.wait()
        except TimeoutError as exc:
            process.send_signal(signal.SIGKILL)
            raise BackendFailed(f"{self.name} did not answer in {_SECONDS:.0f} s.") from exc
        linux.bury_orphans()
        return code


def installed_engines(state: Path, names: tuple[str, ...], *options: str) -> list[Engine]:
    """Engines of these names that are installed, in that order of preference."""
    found = []
    for name in names:
        path = shutil.which(name, path=_PATH)
        if path:
            found.append(Engine(name, path, state / name, options))
    return found
