"""Every page, light and dark, wide and narrow: no script error, no policy violation, accessible."""

import pytest
from playwright.sync_api import expect

from tests.e2e.browser.conftest import Visit
from tests.e2e.browser.portal import Portal
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.root]

NAME = "toured"
CODE = "def handler(event, context):\n    print('on tour')\n    return {'ok': True}\n"
PAGES = (
    "/",
    "/functions",
    "/functions?search=nothing-has-this-name",
    "/functions?deleted=1",
    "/new",
    f"/functions/{NAME}",
    f"/functions/{NAME}/versions",
    f"/functions/{NAME}/invocations",
    f"/functions/{NAME}/logs",
    f"/functions/{NAME}/metrics",
    f"/functions/{NAME}/configuration",
    f"/functions/{NAME}/deploy",
    "/deployments",
    "/runners",
    "/account",
    "/problems",
    "/problems/throttled",
)
ADMIN = (
    "/admin/",
    "/admin/functions/function/",
    "/admin/functions/functionversion/",
    "/admin/functions/alias/",
    "/admin/runners/runnernode/",
    "/admin/deployments/deployment/",
    "/admin/deployments/attempt/",
    "/admin/deployments/event/",
    "/admin/records/auditevent/",
    "/admin/access/personalaccesstoken/",
    "/admin/django_celery_beat/periodictask/",
)


@pytest.fixture(scope="module")
def toured(stack: Stack) -> Stack:
    """A stack with a function that has versions, an alias, invocations and logs."""
    stack.deploy(NAME, {"app.py": CODE, "lib/notes.txt": "kept"})
    stack.upload(NAME, {"app.py": CODE, "lib/notes.txt": "kept"}, message="Again")
    weights = [{"version": "v1", "weight": 9_000}, {"version": "v2", "weight": 1_000}]
    path = f"/api/v1/functions/{NAME}/aliases"
    assert stack.api.post(path, json={"name": "live", "versions": weights}).status_code == 201
    for _ in range(3):
        assert stack.invoke(NAME, {}).status_code == 200
    return stack


def tour(person: Portal, pages: tuple[str, ...]) -> list[str]:
    """Open every page; what went wrong on any of them."""
    wrong = []
    for path in pages:
        person.page.goto(person.stack.url + path)
        person.page.wait_for_load_state("networkidle") if path in ADMIN else person.wait_ready()
        person.page.wait_for_timeout(150)
        wrong += person.policy_violations()
    return wrong + person.faults


class TestEveryPage:
    def test_keeps_to_its_policy_and_runs_without_errors(self, toured: Stack, visit: Visit) -> None:
        person = visit(toured)
        person.enter()

        assert tour(person, PAGES + ADMIN) == []

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_is_accessible(self, toured: Stack, visit: Visit, scheme: str) -> None:
        person = visit(toured, color_scheme=scheme, reduced_motion="reduce")
        person.enter()
        faults = {}
        for path in PAGES:
            person.open(path)
            person.page.wait_for_timeout(150)
            if found := person.accessibility_faults():
                faults[path] = found

        assert faults == {}

    def test_fits_a_phone(self, toured: Stack, visit: Visit) -> None:
        person = visit(toured, viewport={"width": 390, "height": 844})
        person.enter()
        too_wide = []
        for path in PAGES:
            person.open(path)
            if person.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                too_wide.append(path)

        assert too_wide == []


class TestTheTheme:
    def test_follows_the_system_until_it_is_chosen(self, toured: Stack, visit: Visit) -> None:
        person = visit(toured, color_scheme="dark")
        person.enter()
        page = person.page
        person.open("/")
        background = "getComputedStyle(document.documentElement).backgroundColor"
        assert page.evaluate(background) == "rgb(14, 17, 22)"

        page.get_by_role("button", name="Theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        person.open("/functions")

        assert page.evaluate(background) == "rgb(246, 247, 249)"


class TestTheMenu:
    def test_opens_on_a_phone(self, toured: Stack, visit: Visit) -> None:
        person = visit(toured, viewport={"width": 390, "height": 844})
        person.enter()
        page = person.page
        person.open("/")

        page.get_by_role("button", name="Menu").click()
        page.locator("#sidebar").get_by_role("link", name="Runners").click()

        expect(page).to_have_url(f"{toured.url}/runners")
