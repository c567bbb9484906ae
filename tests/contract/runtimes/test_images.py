"""Runtime images: built here without a registry, started as the docker backend starts them."""

import json
import socket
import subprocess
import tempfile
from pathlib import Path

import docker
import pytest

from runtimes import builder, catalog
from runtimes.protocol.framing import FrameType
from tests.contract.runtimes.harness import FUNCTIONS, WAIT_SECONDS, Instance

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["python3.11", "node20"], scope="module")
def image(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(runtime name, image tag)"""
    runtime = catalog.get(request.param)
    return runtime.name, builder.build(runtime, base="debian", log=lambda line: None)


class TestImage:
    def test_is_named_after_what_is_in_it(self, image: tuple[str, str]) -> None:
        name, tag = image

        assert tag == builder.image_tag(catalog.get(name), "debian")
        assert tag.startswith(f"hotswap/runtime-{name}:")
        assert builder.is_built(tag)
        assert not builder.is_built(f"{tag}0")

    def test_is_not_built_twice(self, image: tuple[str, str]) -> None:
        said: list[str] = []

        builder.build(catalog.get(image[0]), base="debian", log=said.append)

        assert said == []

    def test_runs_as_nobody_and_starts_the_bootstrap(self, image: tuple[str, str]) -> None:
        name, tag = image
        runtime = catalog.get(name)
        client = docker.from_env()

        config = client.images.get(tag).attrs["Config"]
        client.close()

        command = runtime.argv(
            interpreter=builder.INTERPRETER,
            bootstrap=f"/opt/hotswap/{runtime.bootstrap.name}",
            socket="",
        )
        assert config["User"] == "65534:65534"
        assert config["Entrypoint"] == command[:-1]

    def test_answers_a_call_under_the_hardening_profile(self, image: tuple[str, str]) -> None:
        name, tag = image
        with (
            tempfile.TemporaryDirectory(prefix="hs-") as folder,
            socket.socket(socket.AF_UNIX) as listener,
        ):
            path = Path(folder) / "s"
            Path(folder).chmod(0o755)
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen(1)
            listener.settimeout(WAIT_SECONDS)
            code = FUNCTIONS / catalog.get(name).language
            command = [
                "docker", "run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL",
                "--security-opt=no-new-privileges", "--tmpfs=/tmp", "--pids-limit=64",
                f"--volume={folder}:/run/hs", f"--volume={code}:/run/hs/task:ro", tag, "/run/hs/s",
            ]  # fmt: skip
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            control, _ = listener.accept()
            instance = Instance(catalog.get(name), process, control)
            try:
                reply = instance.adopt("echo", code="/var/task").call(b'{"a":1}').last
                assert (reply.kind, json.loads(reply.body)) == (FrameType.REPLY, {"a": 1})
                instance.send(FrameType.SHUTDOWN)
                assert instance.exit_status() == 0
            finally:
                instance.close()
