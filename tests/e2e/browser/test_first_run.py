"""From nothing to the first answer."""

import time

import pytest
from playwright.sync_api import expect

from tests.e2e.browser.conftest import Visit
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.root]

CLICKS, SECONDS = 8, 60


class TestAnEmptyAccount:
    @pytest.mark.slow
    def test_gets_its_first_answer_in_two_clicks(self, own_stack: Stack, visit: Visit) -> None:
        own_stack.start()
        person = visit(own_stack)
        started = time.monotonic()

        person.sign_in()
        person.click("text=Create and test")
        status = person.result()

        assert status == "200"
        assert time.monotonic() - started < SECONDS
        assert person.clicks <= CLICKS
        expect(person.page.locator("#result")).to_contain_text("Hello, Ada!")
        expect(person.page.locator("#result .log")).to_contain_text("greeting Ada")
        assert person.faults == []


class TestTheKeyboardAlone:
    def test_creates_and_tests_a_function(self, stack: Stack, visit: Visit) -> None:
        person = visit(stack)
        page = person.page
        person.open("/login")
        page.keyboard.type("admin")
        page.keyboard.press("Tab")
        page.keyboard.type(stack.password)
        page.keyboard.press("Enter")
        page.wait_for_url(stack.url + "/")
        person.wait_ready()

        page.keyboard.press("Control+k")
        page.keyboard.type("new function")
        page.keyboard.press("Enter")
        page.wait_for_url("**/new")
        person.wait_ready()
        page.locator("input[name=starter]:checked").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.type("by-keyboard")
        page.keyboard.press("Enter")

        assert person.result() == "200"
        page.wait_for_selector("#workbench[data-loaded]")
        page.keyboard.press("Control+Enter")
        assert person.result() == "200"
        assert person.clicks == 0
        assert person.faults == []

    def test_moves_between_pages_and_rows(self, stack: Stack, visit: Visit) -> None:
        for name in ("row-a", "row-b"):
            stack.deploy(name, {"app.py": "def handler(event, context):\n    return 1\n"})
        person = visit(stack)
        person.enter()
        person.open("/")
        page = person.page

        page.keyboard.press("g")
        page.keyboard.press("f")
        page.wait_for_url("**/functions")
        person.wait_ready()
        page.keyboard.press("/")
        page.keyboard.type("row-")
        page.keyboard.press("Enter")
        page.wait_for_url("**search=row-**")
        person.wait_ready()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/functions/row-b")
        person.wait_ready()
        page.keyboard.press("g")
        page.keyboard.press("l")
        page.wait_for_url("**/functions/row-b/logs")
