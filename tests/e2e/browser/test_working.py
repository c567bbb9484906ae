"""A day's work: edit, save, test, split traffic, read logs, give tokens, delete and restore."""

import re
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from tests.e2e.browser.conftest import Visit
from tests.e2e.browser.portal import Portal
from tests.e2e.stack import PYTHON_RUNTIME, package

pytestmark = [pytest.mark.browser, pytest.mark.root]

ONE = "def handler(event, context):\n    return {'version': 1}\n"
TWO = "def handler(event, context):\n    print('second thoughts')\n    return {'version': 2}\n"
LONG_LOG = "/api/v1/functions/long-winded/logs?limit=10"
WARNS = "def handler(event, context):\n    context.log.warn(event['say'])\n    print('plain')\n"
RAISES = "def handler(event, context):\n    return event['missing']\n"


class TestTheCodePage:
    def test_saves_an_edit_as_the_next_version_and_runs_it(self, portal: Portal) -> None:
        portal.stack.deploy("edited", {"app.py": ONE, "lib/notes.txt": "kept"})
        portal.open("/functions/edited")
        page = portal.page

        portal.type_code(TWO)
        expect(page.locator("#editor-state")).to_have_text("1 file changed, not saved")
        page.keyboard.press("Control+s")
        page.fill("#save-message", "Second thoughts")
        page.keyboard.press("Enter")
        expect(page.locator("#latest-badge")).to_have_text("v2")
        page.click("#run")

        assert portal.result() == "200"
        expect(page.locator("#result")).to_contain_text('"version": 2')
        expect(page.locator("#result .log")).to_contain_text("second thoughts")
        version = portal.stack.api.get("/api/v1/functions/edited/versions/v2").json()
        assert (version["message"], version["author"]) == ("Second thoughts", "admin")
        assert version["files"] == 2
        assert portal.faults == []

    def test_explains_what_the_function_raised(self, portal: Portal) -> None:
        portal.stack.deploy("raising", {"app.py": RAISES})
        portal.open("/functions/raising")

        portal.page.click("#run")

        assert portal.result() == "502"
        result = portal.page.locator("#result")
        expect(result).to_contain_text("KeyError")
        expect(result).to_contain_text("return event['missing']")
        expect(result).to_contain_text("The function's own code or limits are at fault")

    def test_keeps_named_events_for_everybody(self, portal: Portal, visit: Visit) -> None:
        portal.stack.deploy(
            "echoing", {"app.py": "def handler(event, context):\n    return event\n"}
        )
        portal.open("/functions/echoing")
        page = portal.page
        portal.type_event('{"colour": "teal"}')
        page.click("#event-save")
        page.fill("#name-field", "a teal one")
        page.keyboard.press("Enter")
        expect(page.locator("#event-choice")).to_have_value("a teal one")

        colleague = visit(portal.stack)
        colleague.enter()
        colleague.open("/functions/echoing")
        colleague.page.click("#run")

        assert colleague.result() == "200"
        expect(colleague.page.locator("#result")).to_contain_text('"colour": "teal"')

    def test_warns_before_an_edit_is_lost(self, portal: Portal) -> None:
        portal.stack.deploy("guarded", {"app.py": ONE})
        portal.open("/functions/guarded")
        portal.type_code(TWO)
        questions: list[str] = []

        def stay(dialog: object) -> None:
            questions.append(dialog.type)  # type: ignore[attr-defined]  # Playwright's dialog
            dialog.dismiss()  # type: ignore[attr-defined]

        portal.page.on("dialog", stay)
        portal.page.locator("#editor .cm-content").click()
        portal.page.evaluate("location.assign('/functions')")
        portal.page.wait_for_timeout(300)

        assert questions == ["beforeunload"]
        assert portal.page.url.endswith("/functions/guarded")

    def test_shows_a_stream_as_it_comes(self, portal: Portal) -> None:
        portal.open("/new")
        portal.page.check("input[value=python-stream]", force=True)
        portal.page.fill("#starter-name", "counting")
        portal.page.click("#starter-form button")
        assert portal.result() == "200"

        portal.page.check("#stream")
        portal.page.click("#run")

        head = portal.page.locator("#result .result-head")
        expect(head).to_contain_text("streaming")
        expect(head).to_contain_text("5 pieces")
        expect(head).to_contain_text("200 succeeded")

    @pytest.mark.parametrize("starter", ["python-http", "node-hello", "node-stream"])
    def test_starts_from_every_starter(self, portal: Portal, starter: str) -> None:
        portal.open("/new")
        portal.page.check(f"input[value={starter}]", force=True)
        portal.page.fill("#starter-name", f"from-{starter}")
        portal.page.click("#starter-form button")

        assert portal.result() == "200"

    def test_starts_from_a_zip_file(self, portal: Portal, tmp_path: Path) -> None:
        (tmp_path / "my zip.zip").write_bytes(package({"main.py": ONE}))
        portal.open("/new")
        page = portal.page
        page.set_input_files("input[type=file]", tmp_path / "my zip.zip")
        expect(page.locator("#zip-name")).to_have_value("my-zip")
        page.select_option("#zip-runtime", PYTHON_RUNTIME)
        page.fill("#zip-handler", "main.handler")
        page.click("text=Upload and create")

        assert portal.result() == "200"

    def test_copies_a_curl_command_that_works(self, portal: Portal) -> None:
        portal.context.grant_permissions(["clipboard-read", "clipboard-write"])
        portal.stack.deploy("curled", {"app.py": ONE})
        portal.open("/functions/curled")

        portal.page.click("#copy-curl")
        expect(portal.page.locator("#toasts")).to_contain_text("on the clipboard")
        command = portal.page.evaluate("navigator.clipboard.readText()")

        url = re.search(r"POST '([^']+)'", command)
        body = re.search(r"-d '(.+)'$", command)
        assert url is not None
        assert body is not None
        headers = {
            "Authorization": f"Bearer {portal.stack.token}",
            "Content-Type": "application/json",
        }
        reply = httpx2.post(url[1], content=body[1], headers=headers)
        assert reply.json()["body"] == '{"version":1}'


class TestAliases:
    def test_are_made_split_and_protected(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        stack.deploy("split", {"app.py": ONE})
        stack.upload("split", {"app.py": TWO})
        portal.open("/functions/split/versions")

        page.click("text=New alias >> nth=0")
        page.fill("#alias-name", "live")
        page.click("#add-share")
        page.fill("#shares .share:nth-child(2) input[type=number]", "25")
        expect(page.locator("#share-sum")).to_have_text("Sum 100 %")
        page.click("#alias-submit")

        expect(page.get_by_role("status")).to_contain_text(["Alias live is set"])
        alias = stack.api.get("/api/v1/functions/split/aliases/live").json()
        assert {each["version"]: each["weight"] for each in alias["versions"]} == {
            "v1": 2500,
            "v2": 7500,
        }
        blocked = page.get_by_role("button", name="Delete v1: in use by an alias")
        expect(blocked).to_have_attribute("title", "In use by alias live; move it first")

    def test_refuse_shares_that_do_not_sum_to_the_whole(self, portal: Portal) -> None:
        portal.stack.deploy("uneven", {"app.py": ONE})
        portal.open("/functions/uneven/versions")
        portal.page.click("text=New alias >> nth=0")

        portal.page.fill("#shares input[type=number]", "60")

        expect(portal.page.locator("#share-sum")).to_have_text("Sum 60 %, must be 100")
        expect(portal.page.locator("#alias-submit")).to_be_disabled()


class TestTheLog:
    def test_grows_while_one_looks_and_resumes_after_a_break(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        code = "def handler(event, context):\n    print('seen', event['n'])\n"
        stack.deploy("talking", {"app.py": code})
        portal.open("/functions/talking/logs")
        expect(page.locator("#log-state")).to_have_text("Live")

        stack.invoke("talking", {"n": 1})
        expect(page.locator("#log")).to_contain_text("seen 1")
        portal.context.set_offline(True)
        page.evaluate("window.dispatchEvent(new Event('offline'))")
        stack.invoke("talking", {"n": 2})
        portal.context.set_offline(False)
        stack.invoke("talking", {"n": 3})

        expect(page.locator("#log")).to_contain_text("seen 3")
        text = page.locator("#log").inner_text()
        assert [text.count(f"seen {n}") for n in (1, 2, 3)] == [1, 1, 1]

    def test_brings_older_lines_at_the_top(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        code = "def handler(event, context):\n    for n in range(400):\n        print('line', n)\n"
        stack.deploy("long-winded", {"app.py": code})
        stack.invoke("long-winded")
        stack.wait(lambda: "END RequestId" in stack.api.get(LONG_LOG).text)
        portal.open("/functions/long-winded/logs")
        expect(page.locator("#log-count")).to_contain_text("200 lines")

        page.locator("#log").evaluate("(log) => log.scrollTo(0, 0)")
        expect(page.locator("#log-count")).to_contain_text("403 lines")
        page.locator("#log").evaluate("(log) => log.scrollTo(0, 0)")

        expect(page.locator("#log")).to_contain_text("line 0")

    def test_filters_and_pauses(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        code = (
            "def handler(event, context):\n    context.log.warn(event['say'])\n    print('plain')\n"
        )
        stack.deploy("filtered", {"app.py": code})
        stack.invoke("filtered", {"say": "first"})
        portal.open("/functions/filtered/logs")
        expect(page.locator("#log")).to_contain_text("first")

        page.select_option("#log-level", "WARN,ERROR")
        expect(page.locator("#log .log-line")).to_have_count(1)
        page.click("#log-pause")
        stack.invoke("filtered", {"say": "second"})
        expect(page.locator("#log-count")).to_contain_text("waiting")
        assert "second" not in page.locator("#log").inner_text()
        page.click("#log-pause")

        expect(page.locator("#log")).to_contain_text("second")


class TestTheRest:
    def test_shows_a_token_once_and_revokes_it(self, portal: Portal) -> None:
        stack, page = portal.stack, portal.page
        portal.open("/account")
        page.fill("#token-name", "for a test")
        page.click("text=Create token")
        token = page.inner_text("#new-token")
        reply = httpx2.get(
            f"{stack.url}/api/v1/functions", headers={"Authorization": f"Bearer {token}"}
        )
        assert reply.status_code == 200

        portal.open("/account")
        assert token not in page.content()
        page.get_by_role("button", name="Revoke for a test").click()

        expect(page.get_by_text("The token is revoked")).to_be_visible()
        reply = httpx2.get(
            f"{stack.url}/api/v1/functions", headers={"Authorization": f"Bearer {token}"}
        )
        assert reply.status_code == 401

    def test_configures_with_a_new_version(self, portal: Portal) -> None:
        portal.stack.deploy("configured", {"app.py": ONE})
        portal.open("/functions/configured/configuration")
        page = portal.page
        page.fill("#c-memory", "512")
        page.fill("[name=env-name] >> nth=-1", "STAGE")
        page.fill("[name=env-value] >> nth=-1", "test")
        page.click("text=Save and make version v2")

        expect(page.get_by_text("Version v2 has the new configuration")).to_be_visible()
        version = portal.stack.api.get("/api/v1/functions/configured/versions/v2").json()
        assert (version["memorySize"], version["environment"]) == (512, {"STAGE": "test"})

    def test_deletes_by_typed_name_and_restores(self, portal: Portal) -> None:
        portal.stack.deploy("doomed", {"app.py": ONE})
        portal.open("/functions/doomed/configuration")
        page = portal.page
        page.click("text=Delete…")
        submit = page.locator("#delete-dialog [type=submit]")
        expect(submit).to_be_disabled()
        page.fill("#delete-name", "doomed")
        submit.click()
        page.wait_for_url("**/functions")

        portal.open("/functions?deleted=1")
        page.locator("tr", has_text="doomed").get_by_role("button", name="Restore").click()

        expect(page.get_by_text("doomed is back")).to_be_visible()
        assert portal.stack.invoke("doomed").status_code == 200

    def test_lists_invocations_with_their_details(self, portal: Portal) -> None:
        portal.stack.deploy("listed", {"app.py": RAISES})
        portal.stack.invoke("listed", {})
        portal.open("/functions/listed/invocations")
        page = portal.page

        page.locator("tr[data-href]").first.click()

        expect(page.get_by_text("KeyError").first).to_be_visible()
        expect(page.get_by_text("Where the time went")).to_be_visible()
