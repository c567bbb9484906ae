"""A browser for each module, and a fresh signed-in person for each test."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.browser.portal import Portal
from tests.e2e.stack import Stack

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = [
    "--no-sandbox",  # Chromium's own sandbox does not start as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
Visit = Callable[..., Portal]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium.

    Not for the whole session: while Playwright runs, an event loop runs in this thread, and no
    asynchronous test could have its own.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Makes a visitor of a stack: `visit(stack, color_scheme="dark")`."""
    contexts = []

    def new(stack: Stack, **options: object) -> Portal:
        chosen = {"viewport": {"width": 1440, "height": 900}, **options}
        context = browser.new_context(**chosen)  # type: ignore[arg-type]  # Playwright's own names
        contexts.append(context)
        return Portal(context, stack)

    yield new
    for context in contexts:
        context.close()


@pytest.fixture
def portal(visit: Visit, stack: Stack) -> Portal:
    """A signed-in person."""
    person = visit(stack)
    person.enter()
    return person
