"""Deployments as people see and steer them: started, watched, approved, rolled back."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.e2e.browser.conftest import Visit
from tests.e2e.browser.portal import Portal
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.root]

ONE = "def handler(event, context):\n    return {'version': 1}\n"
TWO = "def handler(event, context):\n    return {'version': 2}\n"
CALLS_PER_SECOND = 20
SLOW_MS = 90_000
"""For what gateways, judge and machine do together, on a busy machine."""


def prepared(stack: Stack, title: str, alias: str = "production") -> str:
    """A function with two versions, whose alias leads to the first; its name, a new one each time.

    So a test can be tried twice on one platform.
    """
    name = f"{title}-{secrets.token_hex(3)}"
    stack.deploy(name, {"app.py": ONE})
    stack.upload(name, {"app.py": TWO}, message="Second thoughts")
    body = {"name": alias, "versions": [{"version": "v1", "weight": 10_000}]}
    reply = stack.api.post(f"/api/v1/functions/{name}/aliases", json=body)
    assert reply.status_code == 201, reply.text
    return name


def started(stack: Stack, name: str, **changes: Any) -> str:
    """A deployment of v2 through the API; its page."""
    config = {"canaryDuration": "PT1H", "minimumCalls": 20}
    body = {"functionName": name, "version": "v2", "strategy": "Canary", "config": config}
    reply = stack.api.post("/api/v1/deployments", json={**body, **changes})
    assert reply.status_code == 201, reply.text
    return f"/deployments/{reply.json()['id']}"


@contextmanager
def called(stack: Stack, name: str, alias: str = "production") -> Iterator[list[str]]:
    """Call a function all the time; the versions that answered, newest last."""
    versions: list[str] = []
    is_over = threading.Event()
    headers = {"Authorization": f"Bearer {stack.token}"}

    def call() -> None:
        with httpx2.Client(base_url=stack.gateway_url, headers=headers, timeout=60) as client:
            body = {"alias": alias, "payload": {}}
            while not is_over.wait(1 / CALLS_PER_SECOND):
                reply = client.post(f"/api/v1/functions/{name}/invoke", json=body)
                versions.append(reply.headers.get("x-hotswap-executed-version", reply.text))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield versions
    finally:
        is_over.set()
        caller.join()


def expect_phase(person: Portal, phase: str) -> None:
    """Wait until the open page says so, without being loaded again."""
    locator = person.page.locator("#phase")
    expect(locator).to_have_attribute("data-phase", phase, timeout=SLOW_MS)


@pytest.fixture
def colleague(visit: Visit, portal: Portal) -> Portal:
    """Somebody else with an account, signed in."""
    name, password = f"grace-{time.time_ns()}", "a horse of another colour"
    page = portal.page
    page.goto(f"{portal.stack.url}/admin/auth/user/add/")
    page.fill("[name=username]", name)
    page.fill("[name=password1]", password)
    page.fill("[name=password2]", password)
    page.locator("[name=_save]").click()
    page.wait_for_url("**/change/")
    other = visit(portal.stack)
    other.open("/login")
    other.page.fill("#id_username", name)
    other.page.fill("#id_password", password)
    other.page.click("form button")
    other.page.wait_for_url(portal.stack.url + "/")
    return other


class TestStarting:
    def test_a_canary_from_the_form_moves_on_before_ones_eyes(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        name = prepared(stack, "canary-form")
        portal.open(f"/functions/{name}/versions")
        page.get_by_role("link", name="Deploy v2").click()
        page.fill("[name=increments]:visible", "20, 60, 100")
        page.fill("[name=canaryDuration]:visible", "3")
        page.select_option("[name='canaryDuration.unit']:visible", "S")
        page.fill("[name=minimumCalls]", "15")
        page.fill("#d-message", "Second thoughts")
        expect(page.locator("#preview")).to_contain_text("60 %", timeout=SLOW_MS)
        expect(page.locator("#preview")).to_contain_text("It starts at once.")
        with called(stack, name) as versions:
            page.click("#start")
            page.wait_for_url("**/deployments/*")
            page.evaluate("window.wasNotLoadedAgain = true")

            expect(page.locator("#weight")).to_have_text("20 %", timeout=SLOW_MS)
            expect(page.locator(".stop.is-now")).to_contain_text("20 %", timeout=SLOW_MS)
            expect(page.locator("#weight")).to_have_text("60 %", timeout=SLOW_MS)
            expect(page.locator(".stop.is-done")).to_contain_text("20 %")
            expect_phase(portal, "settling")
            expect(page.locator("#weight")).to_have_text("100 %")

        assert page.evaluate("window.wasNotLoadedAgain")
        assert set(versions) == {"v1", "v2"}
        assert versions[-1] == "v2"
        assert portal.faults + portal.policy_violations() == []

    def test_the_form_asks_only_what_the_strategy_needs(self, portal: Portal) -> None:
        name = prepared(portal.stack, "form-fields")
        portal.open(f"/functions/{name}/deploy?version=v2")
        page = portal.page
        expect(page.locator("[name=batchSize]")).to_be_hidden()

        page.get_by_text("Rolling", exact=True).click()

        expect(page.locator("[name=batchSize]")).to_be_visible()
        expect(page.locator("[name=increments]").first).to_be_hidden()
        expect(page.locator("#preview")).to_contain_text("batch 1", timeout=SLOW_MS)

    def test_a_wrong_answer_is_named_beside_its_field(self, portal: Portal) -> None:
        name = prepared(portal.stack, "form-errors")
        portal.open(f"/functions/{name}/deploy?version=v2")
        page = portal.page

        page.fill("[name=increments]:visible", "50, 10, 100")

        field = page.locator("[data-field=increments]:visible")
        message = "Each must be larger than the one before."
        expect(field.locator("[data-error]")).to_have_text(message, timeout=SLOW_MS)
        expect(field.locator("input")).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#start")).to_be_disabled()

    def test_it_is_told_that_quiet_functions_take_long(self, portal: Portal) -> None:
        name = prepared(portal.stack, "quiet")
        portal.open(f"/functions/{name}/deploy?version=v2")

        preview = portal.page.locator("#preview")

        expect(preview).to_contain_text("Nobody called this function", timeout=SLOW_MS)


class TestSteering:
    def test_rolls_back_for_a_reason(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        name = prepared(stack, "canary-back")
        with called(stack, name) as versions:
            path = started(stack, name)
            portal.open(path)
            expect_phase(portal, "observing")
            page.click("#do-abort")
            expect(page.locator("#command-dialog")).to_contain_text("Abort this deployment?")
            page.fill("#command-reason", "customers complain")
            page.click("#command-submit")

            expect_phase(portal, "rolled-back")
            seen = len(versions)
            stack.wait(lambda: len(versions) > seen + 20, 30)

        assert set(versions[seen + 5 :]) == {"v1"}
        expect(page.locator(".timeline")).to_contain_text("customers complain")
        expect(page.locator("#receipt-title")).to_be_visible()
        expect(page.locator("main")).to_contain_text("nothing dropped")
        expect(page.locator("#do-retry")).to_be_visible()
        assert portal.faults == []

    def test_pauses_and_goes_on(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        name = prepared(stack, "canary-pause")
        with called(stack, name):
            portal.open(started(stack, name))
            expect_phase(portal, "observing")
            page.click("#do-pause")
            expect_phase(portal, "held")
            expect(page.locator("#phase")).to_contain_text("paused")
            page.click("#do-resume")
            expect_phase(portal, "observing")
            page.click("#do-promote")

            expect(page.locator("#weight")).to_have_text("50 %", timeout=SLOW_MS)

    def test_a_second_person_approves(self, portal: Portal, colleague: Portal) -> None:
        stack = portal.stack
        alias = f"guarded-{time.time_ns()}"
        rules = stack.api.put(f"/api/v1/environments/{alias}", json={"approvalsNeeded": 1})
        assert rules.status_code in (200, 201), rules.text
        name = prepared(stack, "canary-approved", alias)
        path = started(stack, name, alias=alias)
        portal.open(path)
        expect_phase(portal, "awaiting-approval")
        expect(portal.page.locator("#approvals")).to_contain_text("somebody else must approve it")
        expect(portal.page.locator("#do-approve")).to_have_count(0)

        colleague.open("/")
        waiting = colleague.page.locator("section", has_text="Needs a person")
        waiting.get_by_role("link", name=f"Decide the deployment of {name}").click()
        colleague.page.click("#do-approve")

        with called(stack, name, alias):
            expect_phase(portal, "observing")
        expect(portal.page.locator(".timeline")).to_contain_text("Approved")


class TestTheLivePage:
    def test_comes_back_by_itself_when_its_websocket_breaks(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        name = prepared(stack, "canary-socket")
        opened: list[WebSocketRoute] = []

        def through(route: WebSocketRoute) -> None:
            route.connect_to_server()
            opened.append(route)

        page.route_web_socket("**/ws/deployments/*", through)
        path = started(stack, name)
        portal.open(path)
        expect_phase(portal, "observing")
        page.evaluate("window.wasNotLoadedAgain = true")

        opened[0].close()
        reply = stack.api.post(f"/api/v1{path}/pause", json={})

        assert reply.status_code == 200, reply.text
        expect_phase(portal, "held")
        expect(page.locator("#fresh")).to_have_text("Live")
        stack.wait(lambda: page.evaluate("1") and len(opened) > 1, 30)
        assert page.evaluate("window.wasNotLoadedAgain")

    def test_keeps_the_focus_while_it_changes(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        name = prepared(stack, "canary-focus")
        with called(stack, name):
            portal.open(started(stack, name))
            expect_phase(portal, "observing")
            page.focus("#do-pause")
            before = page.locator("#evidence-title + .badge, #evidence-title").first.inner_text()
            page.wait_for_timeout(4_000)

        assert before
        assert page.evaluate("document.activeElement.id") == "do-pause"

    def test_is_two_keys_away(self, portal: Portal) -> None:
        portal.open("/")

        portal.page.keyboard.press("g")
        portal.page.keyboard.press("d")

        portal.page.wait_for_url("**/deployments")


@pytest.fixture(scope="module")
def shown(stack: Stack) -> tuple[str, ...]:
    """Pages of deployments in several states."""
    one = prepared(stack, "shown-running")
    two = prepared(stack, "shown-over")
    with called(stack, one), called(stack, two):
        running, over = started(stack, one), started(stack, two)

        def phase(path: str) -> str:
            return str(stack.api.get(f"/api/v1{path}").json()["phase"])

        stack.wait(lambda: {phase(running), phase(over)} == {"observing"}, SLOW_MS / 1_000)
        stack.wait(lambda: stack.api.get(f"/api/v1{over}").json().get("verdict"), 30)
        stack.api.post(f"/api/v1{over}/rollback", json={"reason": "for the tour"})
        stack.wait(lambda: phase(over) == "rolled-back", SLOW_MS / 1_000)
    return (
        "/",
        "/deployments",
        "/deployments?state=failed&function=none",
        running,
        over,
        f"/functions/{one}/deploy?version=v2",
        f"/functions/{one}/versions",
    )


class TestEveryPage:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_is_accessible_and_keeps_to_its_policy(
        self, shown: tuple[str, ...], stack: Stack, visit: Visit, scheme: str
    ) -> None:
        person = visit(stack, color_scheme=scheme, reduced_motion="reduce")
        person.enter()
        faults: dict[str, Any] = {}
        violations = []
        for path in shown:
            person.open(path)
            person.page.wait_for_timeout(1_000)
            if found := person.accessibility_faults():
                faults[path] = found
            violations += person.policy_violations()

        assert faults == {}
        assert violations + person.faults == []

    def test_fits_a_phone(self, shown: tuple[str, ...], stack: Stack, visit: Visit) -> None:
        person = visit(stack, viewport={"width": 390, "height": 844})
        person.enter()
        too_wide = []
        for path in shown:
            person.open(path)
            if person.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                too_wide.append(path)

        assert too_wide == []
