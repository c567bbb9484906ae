"""A stranger's first minutes: a clone, no virtual environment, the README's own words."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.supervisor.install import ROOT
from hotswap.supervisor.isolation import docker_answers
from hotswap.supervisor.ports import is_free
from tests.e2e.stack import makes_images

README_PORTS = (8000, 8001)
LONGEST_SECONDS = 540

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(LONGEST_SECONDS + 60)]


class Clone:
    """A checkout of what is committed, in the hands of a user with an empty home."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "hotswap"
        home = folder / "home"
        home.mkdir()
        ours = ("HOTSWAP_", "DJANGO_", "VIRTUAL_ENV", "PYTHON", "TMPDIR")
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        interpreter = Path(sys.base_prefix) / "bin"
        self._environment |= {"HOME": str(home), "PATH": f"{interpreter}:{os.environ['PATH']}"}
        if makes_images():
            self._environment["HOTSWAP_RUNNER_BASE_IMAGE"] = "debian"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.root)], check=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command at the clone's root; its output in one piece."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )

    def five_minutes(self) -> str:
        """The shell lines of the README's section of that name, in their order."""
        text = (self.root / "README.md").read_text()
        section = text.partition("\n## Five minutes\n")[2].partition("\n## ")[0]
        return "\n".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """One clone for the tests here: only the first of them meets it without its packages."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    clone = Clone(tmp_path_factory.mktemp("clone"))
    yield clone
    clone.run("bin/up", "--stop")


class TestCheck:
    @pytest.mark.parametrize(
        "backend", ["sandbox", pytest.param("docker", marks=pytest.mark.docker)]
    )
    def test_is_green(self, clone: Clone, backend: str) -> None:
        if backend == "docker" and not docker_answers():
            pytest.skip("no Docker engine answers")

        checked = clone.run("bin/up", "--check", "--backend", backend)

        assert checked.returncode == 0, checked.stdout
        assert f"Starting all processes ({backend} backend)" in checked.stdout
        assert "Calling hello through the web" in checked.stdout


class TestReadme:
    def test_five_minutes_go_as_printed(self, clone: Clone) -> None:
        if busy := [port for port in README_PORTS if not is_free("127.0.0.1", port)]:
            pytest.skip(f"another program listens on {busy}")
        lines = clone.five_minutes()

        done = clone.run("bash", "-euo", "pipefail", "-c", lines)

        log = clone.root / "up.log"
        assert done.returncode == 0, done.stdout + (log.read_text() if log.exists() else "")
        assert lines.count("curl") >= 8
        assert "Hello, Ada!" in done.stdout
        assert "Hello, Grace!" in done.stdout
        assert '"version":"v2"' in done.stdout.replace(" ", "")
        assert "Stopped." in done.stdout
        assert [port for port in README_PORTS if not is_free("127.0.0.1", port)] == []
