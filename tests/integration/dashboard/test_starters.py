"""Starters and saved events."""

import json
from typing import TYPE_CHECKING

import pytest

from functions import starters
from hotswap.dashboard.prose import html_of
from runtimes import catalog

if TYPE_CHECKING:
    from django.test import Client

NAMES = {"python-hello", "python-http", "python-stream", "node-hello", "node-stream"}


class TestTheCatalogue:
    def test_holds_what_the_page_offers(self) -> None:
        assert {starter.name for starter in starters.all_starters()} >= NAMES

    @pytest.mark.parametrize("starter", starters.all_starters(), ids=lambda s: s.name)
    def test_has_a_handler_in_its_files_and_an_event_in_json(
        self, starter: starters.Starter
    ) -> None:
        own = [r for r in catalog.all_runtimes().values() if r.language == starter.language]
        json.loads(starter.event)
        for runtime in own:
            assert set(catalog.handler_files(runtime, starter.handler)) & set(starter.files)


class TestAStarter:
    def test_becomes_a_function_with_a_version_and_an_event(self, browser: "Client") -> None:
        response = browser.post("/new", {"starter": "python-http"})

        assert response["Location"] == "/functions/python-http#test"
        page = browser.get("/functions/python-http").content.decode()
        assert '"name": "hello", "payload": "{\\"path\\": \\"/items/2\\"}"' in page

    def test_takes_the_next_free_name(self, browser: "Client") -> None:
        places = [browser.post("/new", {"starter": "node-hello"})["Location"] for _ in range(3)]

        assert places == [f"/functions/node-hello{end}#test" for end in ("", "-2", "-3")]

    def test_is_refused_under_a_bad_name_with_the_form_kept(self, browser: "Client") -> None:
        page = browser.post("/new", {"starter": "node-hello", "name": "-bad-"})

        assert page.status_code == 200
        assert "A name has 1 to 64 letters" in page.content.decode()
        assert 'value="-bad-"' in page.content.decode()


class TestAnEvent:
    @pytest.fixture
    def path(self, browser: "Client") -> str:
        browser.post("/new", {"starter": "python-hello", "name": "eventful"})
        return "/functions/eventful/events"

    def send(self, browser: "Client", path: str, **fields: str) -> int:
        response = browser.post(path, json.dumps(fields), content_type="application/json")
        return response.status_code

    def test_is_kept_replaced_and_forgotten(self, browser: "Client", path: str) -> None:
        assert self.send(browser, path, name="mine", payload="1") == 200
        assert self.send(browser, path, name="mine", payload="2") == 200
        assert '"payload": "2"' in browser.get("/functions/eventful").content.decode()

        gone = browser.delete(path, json.dumps({"name": "mine"}), content_type="application/json")

        assert gone.status_code == 204

    def test_must_be_json_of_a_fair_size(self, browser: "Client", path: str) -> None:
        assert self.send(browser, path, name="mine", payload="{") == 422
        assert self.send(browser, path, name="", payload="1") == 422
        assert self.send(browser, path, name="mine", payload=json.dumps("x" * 300_000)) == 422


class TestProse:
    def test_escapes_everything_and_draws_a_little(self) -> None:
        text = "## A <b>\n\nSee `<i>` and [this](/here).\n\n- one\n- **two**\n\n```\n<pre>\n```"

        assert html_of(text) == (
            "<h2>A &lt;b&gt;</h2>\n"
            '<p>See <code>&lt;i&gt;</code> and <a href="/here">this</a>.</p>\n'
            "<ul><li>one</li><li><strong>two</strong></li></ul>\n"
            "<pre><code>&lt;pre&gt;</code></pre>"
        )

    def test_makes_no_link_that_runs_script(self) -> None:
        assert "href" not in html_of("[x](javascript:alert)")
