"""Who may see what, what a refused form says, and pages that are open to everybody."""

import json
from typing import TYPE_CHECKING

import pytest
from django.utils.html import escape

from hotswap.core.errors import all_errors
from tests.integration.dashboard.conftest import Make

if TYPE_CHECKING:
    from django.test import Client

CLOSED = (
    "/",
    "/functions",
    "/new",
    "/functions/any",
    "/functions/any/versions",
    "/functions/any/invocations",
    "/functions/any/logs",
    "/functions/any/metrics",
    "/functions/any/configuration",
    "/runners",
    "/account",
)
SCRIPTS = ("/search.json", "/functions/any/test", "/functions/any/test-stream")


class TestAStranger:
    @pytest.mark.parametrize("path", CLOSED)
    def test_is_sent_to_the_sign_in_page(self, client: "Client", db: None, path: str) -> None:
        response = client.get(path)

        assert response.status_code == 302
        assert response["Location"] == f"/login?next={path}"

    @pytest.mark.parametrize("path", SCRIPTS)
    def test_gets_a_problem_document_from_scripts_addresses(
        self, client: "Client", db: None, path: str
    ) -> None:
        response = client.post(path, "{}", content_type="application/json")

        assert response.status_code == 401
        assert json.loads(response.content)["type"] == "/problems/unauthenticated"

    def test_may_try_to_sign_in_ten_times_a_minute(self, client: "Client", db: None) -> None:
        form = {"username": "ada", "password": "wrong"}
        pages = [client.post("/login", form).content.decode() for _ in range(11)]

        assert "is wrong" in pages[9]
        assert "Too many tries" in pages[10]

    def test_may_read_what_every_problem_means(self, client: "Client", db: None) -> None:
        for slug, error in all_errors().items():
            page = client.get(f"/problems/{slug}")
            assert page.status_code == 200, slug
            assert escape(error.title) in page.content.decode()
        assert client.get("/problems/none-such").status_code == 404

    def test_is_not_let_into_the_administration(self, client: "Client", db: None) -> None:
        assert client.get("/admin/", follow=True).redirect_chain[-1][0].startswith("/login")


class TestAUserWhoIsNoStaff:
    def test_is_not_let_into_the_administration(self, browser: "Client") -> None:
        assert browser.get("/admin/", follow=True).redirect_chain[-1][0] == "/"


class TestARefusedForm:
    def test_says_why_where_it_was_filled_in(self, browser: "Client", make_functions: Make) -> None:
        make_functions(1)
        path = "/functions/function-00000"

        page = browser.post(
            f"{path}/versions/1/delete",
            headers={"Referer": f"http://testserver{path}/versions"},
            follow=True,
        )

        assert page.redirect_chain == [(f"{path}/versions", 302)]
        assert "is in use by alias live" in page.content.decode()

    def test_does_not_go_back_to_another_site(
        self, browser: "Client", make_functions: Make
    ) -> None:
        make_functions(1)

        response = browser.post(
            "/functions/function-00000/versions/1/delete",
            headers={"Referer": "http://elsewhere.test/trap"},
        )

        assert response["Location"].startswith("/functions/")

    def test_needs_its_token(self, make_functions: Make, browser: "Client") -> None:
        make_functions(1)
        browser.handler.enforce_csrf_checks = True

        response = browser.post("/functions/function-00000/delete", {"name": "function-00000"})

        assert response.status_code == 403
        assert "The form is too old" in response.content.decode()

    def test_keeps_a_function_whose_name_was_not_typed(
        self, browser: "Client", make_functions: Make
    ) -> None:
        make_functions(1)

        browser.post("/functions/function-00000/delete", {"name": "function"})

        assert browser.get("/functions/function-00000").status_code == 200


class TestThePolicy:
    def test_allows_no_inline_script_or_style(self, browser: "Client") -> None:
        policy = browser.get("/").headers["Content-Security-Policy"]

        assert "script-src 'self';" in f"{policy};"
        assert "style-src 'self';" in f"{policy};"
        assert "unsafe" not in policy

    def test_keeps_pages_out_of_caches(self, browser: "Client") -> None:
        assert browser.get("/functions")["Cache-Control"] == "no-store"
