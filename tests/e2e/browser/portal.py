"""A person at the portal: a Chromium page that counts clicks and remembers what went wrong."""

from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from tests.e2e.stack import Stack

AXE = Path(__file__).parent / "vendor" / "axe.js"
PATIENCE_MS = 20_000
SERIOUS = ("serious", "critical")

# Every violation of the policy is kept on the window, also of pages' first moments.
_WATCH_POLICY = """
window.policyViolations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  const {violatedDirective, blockedURI, sourceFile} = event;
  window.policyViolations.push(`${violatedDirective} ${blockedURI} ${sourceFile}`);
});
"""
_RUN_AXE = """
async (rules) => {
  const found = await axe.run(document, {runOnly: {type: "tag", values: rules}});
  const said = (node) => `${node.target.flat().join(" ")}: ${node.failureSummary}`;
  return found.violations.map(({id, impact, nodes}) => ({id, impact, nodes: nodes.map(said)}));
}
"""
_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


class Portal:
    """One signed-out visitor of a running platform.

    Attributes:
        clicks: how often `click` was used.
        faults: errors of the console and of scripts, with the page they came from.
    """

    _sessions: ClassVar[dict[str, Any]] = {}

    def __init__(self, context: BrowserContext, stack: Stack) -> None:
        self.stack = stack
        self.context = context
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(_WATCH_POLICY)
        self.page: Page = context.new_page()
        self.clicks = 0
        self.faults: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.faults.append(f"{self.page.url}: {error}"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"{self.page.url}: {message.text} {message.location.get('url')}")

    def open(self, path: str) -> None:
        """Go to a page and wait until its scripts run."""
        self.page.goto(self.stack.url + path)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the page's scripts run."""
        self.page.wait_for_selector("html[data-ready], .door", state="attached")

    def sign_in(self) -> None:
        """Sign in as the first admin."""
        self.open("/login")
        self.page.fill("#id_username", "admin")
        self.page.fill("#id_password", self.stack.password)
        self.click("form button")
        self.page.wait_for_url(self.stack.url + "/")
        self.wait_ready()

    def enter(self) -> None:
        """Come in with the session of an earlier visit: sign-ins are limited per minute."""
        cookies = self._sessions.get(self.stack.url)
        if cookies is None:
            self.sign_in()
            self._sessions[self.stack.url] = self.context.cookies()
        else:
            self.context.add_cookies(cookies)

    def click(self, selector: str) -> None:
        """Click once, and count it."""
        self.clicks += 1
        self.page.click(selector)

    def result(self) -> str:
        """Wait for the result of a test; its status."""
        status = self.page.locator("#result [data-status]")
        expect(status).to_be_visible(timeout=60_000)
        return str(status.get_attribute("data-status"))

    def type_code(self, text: str) -> None:
        """Replace what the editor shows, with the keyboard."""
        self.page.wait_for_selector("#workbench[data-loaded]")
        self.page.locator("#editor .cm-content").focus()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def type_event(self, text: str) -> None:
        """Replace the test event, with the keyboard."""
        self.page.locator("#payload .cm-content").focus()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def policy_violations(self) -> list[str]:
        """What the page tried and its policy refused."""
        found: list[str] = self.page.evaluate("window.policyViolations")
        return [f"{urlsplit(self.page.url).path}: {each}" for each in found]

    def accessibility_faults(self) -> list[dict[str, Any]]:
        """Serious and critical findings of axe."""
        self.page.evaluate(AXE.read_text())
        found: list[dict[str, Any]] = self.page.evaluate(_RUN_AXE, _WCAG)
        return [fault for fault in found if fault["impact"] in SERIOUS]
