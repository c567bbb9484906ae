"""docs/conformance.md names tests that there are, and every case of the design."""

import ast
import re

import pytest

from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs" / "conformance.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:unit|integration|e2e)/[\w/]+\.py(?:::\w+)*)`", PAGE)))
CASES = [
    *range(1, 16), *range(20, 37), *range(40, 53), *range(60, 68), *range(70, 75), *range(80, 84),
]  # fmt: skip


class TestConformancePage:
    @pytest.mark.parametrize("name", NAMED)
    def test_names_a_test_that_there_is(self, name: str) -> None:
        path, *parts = name.split("::")
        inside: list[ast.stmt] = ast.parse((ROOT / "tests" / path).read_text()).body

        for part in parts:
            found = [
                node
                for node in inside
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part
            ]
            assert found, f"{part} is not in {path}"
            inside = found[0].body

    def test_has_a_row_for_every_case_rule_and_figure(self) -> None:
        rows = re.findall(r"^\| (\w+) \|", PAGE, re.MULTILINE)

        cases = [f"C{number:02}" for number in CASES]
        rules = [str(number) for number in range(1, 16)]
        figures = [f"S{number}" for number in range(1, 14)]
        assert rows == [*cases, *rules, *figures]
