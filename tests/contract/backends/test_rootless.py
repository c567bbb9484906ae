"""The contract once more as a user without root, who gets bubblewrap."""

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

PYTHON = Path("/usr/bin") / f"python{sys.version_info[0]}.{sys.version_info[1]}"
PROJECT = Path(__file__).parents[3]
USER = 61_000


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.skipif(not PYTHON.exists(), reason=f"needs {PYTHON}: others may be unreadable")
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
class TestUserWithoutRoot:
    async def test_gets_the_same_contract(self) -> None:
        home = Path(tempfile.mkdtemp(prefix="hs-"))
        os.chown(home, USER, USER)
        environment = {
            "HOME": str(home),
            "TMPDIR": str(home),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        plugins = ["-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
        command = [str(PYTHON), "-m", "pytest", *plugins, "-q", "-k", "rootless and not Without"]
        folder = Path(__file__).parent
        done = await asyncio.to_thread(
            subprocess.run,
            ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command,
             f"--confcutdir={folder}", str(folder)],
            cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        shutil.rmtree(home, ignore_errors=True)
        assert done.returncode == 0, done.stdout[-4000:]
        assert " passed" in done.stdout
