"""The catalogue of runtimes."""

import pytest

from hotswap.core.errors import InvalidInput, UnknownPlugin
from runtimes import catalog


class TestGet:
    @pytest.mark.parametrize(
        ("spelling", "name"),
        [
            ("python3.11", "python3.11"),
            ("Python311", "python3.11"),
            ("PYTHON38", "python3.8"),
            ("NodeJs18", "node18"),
            ("Node18", "node18"),
            ("node18", "node18"),
            ("nodejs18.x", "node18"),
        ],
    )
    def test_finds_every_accepted_spelling(self, spelling: str, name: str) -> None:
        assert catalog.get(spelling).name == name

    @pytest.mark.parametrize("name", ["", "python", "python2.7", "../python3.11", "cobol"])
    def test_refuses_other_names_and_tells_the_known_ones(self, name: str) -> None:
        with pytest.raises(UnknownPlugin, match=r"node16.*python3\.13"):
            catalog.get(name)


class TestAllRuntimes:
    def test_names_every_supported_version(self) -> None:
        pythons = [f"python3.{minor}" for minor in range(8, 14)]
        nodes = [f"node{major}" for major in (16, 18, 20, 22, 24)]

        assert list(catalog.all_runtimes()) == nodes + pythons

    @pytest.mark.parametrize("name", list(catalog.all_runtimes()))
    def test_entries_are_complete(self, name: str) -> None:
        runtime = catalog.get(name)

        assert runtime.bootstrap.is_file()
        assert runtime.bootstrap.with_name("Dockerfile").is_file()
        assert catalog.handler_files(runtime, runtime.handler_example)
        assert runtime.argv(interpreter="I", bootstrap="B", socket="S")[-2:] == ["B", "S"]

    @pytest.mark.parametrize("name", ["python3.11", "node20"])
    def test_images_start_the_bootstrap_as_the_manifest_says(self, name: str) -> None:
        runtime = catalog.get(name)
        folder = "/opt/hotswap"
        command = runtime.argv(
            interpreter=f"{folder}/interpreter",
            bootstrap=f"{folder}/{runtime.bootstrap.name}",
            socket="",
        )[:-1]

        dockerfile = runtime.bootstrap.with_name("Dockerfile").read_text()

        assert f"ENTRYPOINT {command}".replace("'", '"') in dockerfile


class TestHandler:
    @pytest.mark.parametrize(
        ("runtime", "handler", "file"),
        [
            ("python3.11", "app.handler", "app.py"),
            ("python3.11", "app.handler", "app/__init__.py"),
            ("python3.11", "pkg/mod.func", "pkg/mod.py"),
            ("python3.11", "pkg.mod.func", "pkg/mod.py"),
            ("python3.11", "my-app.handler", "my-app.py"),
            ("node20", "index.handler", "index.js"),
            ("node20", "index.handler", "index.mjs"),
            ("node20", "src/v1.2/index.handler", "src/v1.2/index.cjs"),
            ("node20", "index.api.get", "index.js"),
        ],
    )
    def test_names_the_files_that_may_hold_it(self, runtime: str, handler: str, file: str) -> None:
        assert file in catalog.handler_files(catalog.get(runtime), handler)

    @pytest.mark.parametrize("runtime", ["python3.11", "node20"])
    @pytest.mark.parametrize(
        "handler",
        ["", "handler", ".handler", "app.", "/app.handler", "../app.handler", "a/../b.c", "a b.c",
         "app.handler\n", "a\x00.b", "app.hand-ler", "x" * 126 + ".ab"],
    )  # fmt: skip
    def test_of_another_form_is_refused(self, runtime: str, handler: str) -> None:
        with pytest.raises(InvalidInput):
            catalog.handler_files(catalog.get(runtime), handler)

    def test_refusal_shows_an_example(self) -> None:
        with pytest.raises(InvalidInput, match=r"app\.handler"):
            catalog.check_handler(catalog.get("python3.11"), "nonsense")
