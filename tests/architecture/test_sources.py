"""Rules of the source that no linter knows."""

import ast
import re

import pytest

from tests.architecture.sources import ROOT, functions, modules, name, tree

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60

ONE_FILE_BY_DESIGN = {"runtimes/python/bootstrap.py"}
"""A bootstrap is the only file of ours in a sandbox."""

READ_THE_ENVIRONMENT = ("hotswap/config.py", "hotswap/supervisor/", "runtimes/python/bootstrap.py")
NAME_THE_SETTINGS = ("hotswap/asgi.py", "hotswap/wsgi.py", "hotswap/celery.py")
"""They say which settings module Django loads, and read nothing."""

MACHINE_PATH = re.compile(r"[\"'](/home/|/Users/|/root/|/work/)")
VAGUE_MODULES = {"utils", "helpers", "common", "misc", "manager", "managers", "util", "helper"}


class TestModules:
    def test_have_at_most_600_lines(self) -> None:
        long = {
            name(path): lines
            for path in modules()
            if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX
        }

        assert set(long) <= ONE_FILE_BY_DESIGN, long

    def test_have_functions_of_at_most_60_lines(self) -> None:
        long = [
            f"{name(path)}:{function.lineno} {function.name} has {lines}"
            for path in modules()
            for function in functions(path)
            if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
        ]

        assert not long

    def test_have_names_that_say_something(self) -> None:
        vague = [name(path) for path in modules() if path.stem in VAGUE_MODULES]

        assert not vague

    def test_say_what_they_are(self) -> None:
        silent = [
            name(path)
            for path in modules()
            if path.read_text().strip() and ast.get_docstring(tree(path)) is None
        ]

        assert not silent

    def test_read_no_environment_outside_the_configuration(self) -> None:
        allowed = (*READ_THE_ENVIRONMENT, *NAME_THE_SETTINGS)
        reading = [
            f"{name(path)}:{node.lineno}"
            for path in modules()
            if not name(path).startswith(allowed)
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
        ]

        assert not reading

    def test_name_no_path_of_a_machine(self) -> None:
        bound = [name(path) for path in modules() if MACHINE_PATH.search(path.read_text())]

        assert not bound

    def test_send_tasks_from_one_place(self) -> None:
        sending = [
            f"{name(path)}:{node.lineno}"
            for path in modules()
            if name(path) != "hotswap/jobs.py"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and node.attr in ("delay", "apply_async")
        ]

        assert not sending


class TestLocks:
    @pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
    def test_name_no_package_index(self, lock: str) -> None:
        text = (ROOT / lock).read_text()

        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")
