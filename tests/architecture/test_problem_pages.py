"""Every error that a caller can meet has a page that says what to do."""

from hotswap.core import errors
from tests.architecture.sources import ROOT

PAGES = ROOT / "docs" / "api" / "problems"


class TestProblemPages:
    def test_exist_for_every_slug_and_for_nothing_else(self) -> None:
        import hotswap.api.problems  # noqa: F401  the control plane's own errors

        assert {page.stem for page in PAGES.glob("*.md")} == {*errors.all_errors(), "README"}

    def test_name_title_and_status(self) -> None:
        wrong = []
        for slug, error in errors.all_errors().items():
            page = PAGES / f"{slug}.md"
            lines = page.read_text().splitlines() if page.exists() else [""]
            if lines[0] != f"# {error.title}" or f"`{error.status}`" not in "\n".join(lines[:6]):
                wrong.append(slug)

        assert not wrong
