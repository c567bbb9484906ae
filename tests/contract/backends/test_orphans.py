"""A killed runner, or a killed privileged process, leaves nothing for long."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.backends.programs import InstalledPrograms
from runners.backends.sandbox import SandboxBackend
from tests.contract.backends.conftest import (
    PROJECT,
    RUNTIME,
    Boot,
    Machine,
    connected,
    ignore,
    start_sandboxd,
)
from tests.contract.backends.conversation import talk_to


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestKilledRunner:
    async def test_leaves_no_cell(self, machine: Machine) -> None:
        """The next `open` finds and removes what is left; a lease ends by itself."""
        command = [sys.executable, "-m", "tests.contract.backends.owner"]
        owner = subprocess.Popen(
            [*command, machine.kind, str(machine.state)], cwd=PROJECT, stdout=subprocess.PIPE
        )
        assert owner.stdout is not None
        pids = [int(owner.stdout.readline()) for _ in range(2)]
        assert machine.traces() != []
        owner.kill()
        owner.wait()
        owner.stdout.close()
        successor = machine.make()
        await successor.open()
        await eventually(lambda: machine.traces() == [] and not any(map(lives, pids)))
        await successor.close()


@pytest.mark.root
class TestKilledPrivilegedProcess:
    async def test_its_successor_removes_its_cells(self, tmp_path: Path) -> None:
        first = start_sandboxd(tmp_path, "crun")
        machine = Machine("crun", lambda: backend, True, tmp_path, tmp_path / "code")
        backend = SandboxBackend(privileged=await connected(tmp_path), programs=InstalledPrograms())
        await backend.open()
        cell = await backend.create_cell(RUNTIME, ignore)
        await talk_to(cell, machine.code)
        await cell.freeze()
        first.process.kill()
        first.process.wait()
        assert (await asyncio.wait_for(cell.wait(), 5)).code is None
        assert machine.traces() != []
        second = start_sandboxd(tmp_path, "crun")
        privileged = await connected(tmp_path)
        await eventually(lambda: machine.traces() == [])
        again = await backend.create_cell(RUNTIME, ignore)
        again.control.close()
        cell.control.close()
        await privileged.close()
        await backend.close()
        second.process.terminate()
        assert second.process.wait(10) == 0

    async def test_goes_with_its_parent(self, tmp_path: Path) -> None:
        shell = "{} -m runners.sandboxd --state-dir {} & echo $!; wait"
        parent = subprocess.Popen(
            ["/bin/sh", "-c", shell.format(sys.executable, tmp_path)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        await (await connected(tmp_path)).close()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
        await eventually(lambda: not lives(child))


@pytest.mark.root
class TestSandboxd:
    async def test_refuses_a_second_of_the_same_installation(
        self, boot: Boot, machine: Machine
    ) -> None:
        if machine.kind != "crun":
            pytest.skip("one is enough")
        command = [sys.executable, "-m", "runners.sandboxd", "--state-dir", str(machine.state)]
        second = await asyncio.to_thread(
            subprocess.run, command, cwd=PROJECT, capture_output=True, timeout=20, check=False
        )
        assert second.returncode == 1
        assert b"is running" in second.stderr
        await talk_to(await boot(), machine.code)

    async def test_ends_when_its_parent_died_before_it_looked(self, tmp_path: Path) -> None:
        stranger = str(os.getpid() + 1)  # as the pid of a parent that is gone would be
        command = [sys.executable, "-m", "runners.sandboxd", "--parent", stranger]
        command += ["--state-dir", str(tmp_path)]
        ended = await asyncio.to_thread(
            subprocess.run, command, cwd=PROJECT, capture_output=True, timeout=60, check=False
        )
        assert ended.returncode == 0
        assert not (tmp_path / "run").exists()

    async def test_binds_no_directory_from_elsewhere(self, boot: Boot, machine: Machine) -> None:
        if machine.kind not in ("crun", "docker"):
            pytest.skip("without a privileged process")
        from hotswap.core.errors import BackendFailed
        from tests.contract.backends.conversation import LIMITS

        trap = machine.state / "trap"
        trap.unlink(missing_ok=True)
        trap.symlink_to("/etc")
        for path in (Path("/etc"), trap, machine.state / "code/../../..", Path("/nothing")):
            with pytest.raises(BackendFailed):
                await (await boot()).adopt(path, LIMITS)

    @pytest.mark.parametrize(
        "packet",
        [
            b"not json",
            b'{"verb":"delete","n":1}',
            b'{"verb":"create","n":1,"cell":"../../etc","runtime":"python3.11"}',
            b'{"verb":"create","n":1,"cell":"a","runtime":"../x"}',
            b'{"verb":"stop","n":1,"cell":"a","more":1}',
            b'{"verb":"adopt","n":1,"cell":"a","code":"/x","memory_mib":-1}',
        ],
    )
    async def test_hangs_up_on_nonsense(self, machine: Machine, packet: bytes) -> None:
        if machine.kind != "crun":
            pytest.skip("one is enough")
        privileged = await connected(machine.state)
        loop = asyncio.get_running_loop()
        connection = privileged._connection
        assert connection is not None
        loop.remove_reader(connection.fileno())
        connection.send(packet)
        assert await asyncio.wait_for(loop.sock_recv(connection, 100), 5) == b""
        loop.add_reader(connection.fileno(), privileged._read)
        await privileged.close()

    @pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
    async def test_lets_no_other_user_in(self, machine: Machine) -> None:
        if machine.kind != "crun":
            pytest.skip("one is enough")
        path = machine.state / "run/sandboxd.sock"
        tried = "import socket,sys; s=socket.socket(1, 5); s.connect(sys.argv[1]); "
        tried += 's.send(b\'{"verb":"open","n":1}\'); sys.exit(0 if s.recv(9) else 3)'
        path.chmod(0o666)  # as if the file's mode did not protect it
        done = await asyncio.to_thread(
            subprocess.run,
            ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", tried, path],
            capture_output=True,
            check=False,
        )
        path.chmod(0o600)
        assert done.returncode != 0
