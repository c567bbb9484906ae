"""What holds for every operation: problems, repeats, headers, the document."""

import json

import pytest
from django.core.management import call_command
from django.test import Client
from rest_framework.test import APIClient

from hotswap.records import services as records
from hotswap.records.models import IdempotencyKey
from tests.integration.control import FUNCTION, create, deployed

PROBLEM = {"type", "title", "status", "detail", "instance", "fault", "retryable"}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "openapi.json"
    call_command(
        "spectacular", "--format=openapi-json", "--fail-on-warn", "--validate", f"--file={path}"
    )
    return json.loads(path.read_text())


class TestProblems:
    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("get", "/api/v1/functions/none", None, 404),
            ("get", "/api/v1/nothing/here", None, 404),
            ("get", "/internal/v1/nothing", None, 404),
            ("get", "/api/v1/functions/a_b", None, 404),
            ("delete", "/api/v1/functions", None, 405),
            ("options", "/api/v1/functions", None, 405),
            ("post", "/api/v1/functions", "{not json", 400),
            ("post", "/api/v1/functions", '{"maxQueue": NaN}', 400),
            ("post", "/api/v1/functions", "[" * 100_000, 400),
            ("post", "/api/v1/functions", "[]", 422),
            ("post", "/api/v1/functions", "{}", 422),
            ("post", "/api/v1/functions", b'{"name": "\xff"}', 400),
        ],
    )
    def test_are_documents_with_the_request_id(self, api, method, path, body, status):
        response = api.generic(method.upper(), path, body or "", content_type="application/json")

        problem = json.loads(response.content)
        assert (response.status_code, problem["status"]) == (status, status)
        assert response["Content-Type"] == "application/problem+json"
        assert set(problem) >= PROBLEM
        assert problem["instance"] == response["X-Request-Id"]

    def test_name_the_field(self, api):
        problem = api.post("/api/v1/functions", {**FUNCTION, "timeout": "soon"}).json()

        assert [error["field"] for error in problem["errors"]] == ["timeout"]
        assert problem["detail"].startswith("timeout: ")

    def test_refuse_media_types_that_nobody_reads(self, api):
        response = api.post("/api/v1/functions", "a=b", content_type="text/plain")

        assert (response.status_code, response.json()["type"]) == (
            415,
            "/problems/unsupported-media-type",
        )

    def test_bound_ordinary_bodies(self, api):
        deployed(api)
        body = {"name": "a", "version": "v1", "description": "x" * 1024 * 1024}

        assert api.post("/api/v1/functions/thumbs/aliases", body).status_code == 413

    def test_hide_what_broke(self, api, monkeypatch):
        def broken(**_):
            raise RuntimeError("secret detail")

        monkeypatch.setattr("functions.selectors.function_get", broken)

        response = api.get("/api/v1/functions/thumbs")

        assert (response.status_code, response.json()["type"]) == (500, "/problems/internal")
        assert "secret" not in response.content.decode()


class TestIdempotency:
    def post(self, api, key="k1", **fields):
        body = {**FUNCTION, **fields}
        return api.post("/api/v1/functions", body, headers={"Idempotency-Key": key})

    def test_gives_the_first_answer_again(self, api):
        first, second = self.post(api), self.post(api)

        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert (second["Idempotency-Replayed"], second["ETag"]) == ("true", first["ETag"])

    def test_repeats_refusals_too(self, api):
        create(api)
        first = self.post(api)
        api.delete("/api/v1/functions/thumbs")

        second = self.post(api)

        assert (first.status_code, second.content) == (409, first.content)
        assert second["Content-Type"] == "application/problem+json"

    def test_refuses_another_request_with_the_same_key(self, api):
        self.post(api)

        response = self.post(api, timeout=9)

        assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-input")

    def test_keeps_keys_of_different_users_apart(self, api):
        from tests.integration.control import client

        self.post(api)

        assert self.post(client(username="bob"), name="other").status_code == 201

    def test_tells_a_repeat_that_the_first_is_running(self, api):
        self.post(api)
        IdempotencyKey.objects.update(status=None)

        assert self.post(api).status_code == 409

    def test_lets_a_request_that_broke_be_repeated(self, api, monkeypatch):
        def broken(**_):
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr("functions.services.functions.function_create", broken)
            first = self.post(api)
        second = self.post(api)

        assert (first.status_code, second.status_code) == (500, 201)

    def test_forgets(self, api):
        from datetime import timedelta

        from hotswap.core import clock

        self.post(api)
        later = clock.utc_now() + timedelta(days=2)

        assert records.idempotency_purge(before=later, stuck_before=later) == 1

    @pytest.mark.parametrize(("length", "status"), [(255, 201), (256, 400)])
    def test_bounds_the_key(self, api, length, status):
        assert self.post(api, key="k" * length).status_code == status


class TestHeaders:
    @pytest.mark.parametrize("path", ["/health", "/api/docs", "/api/v1/functions", "/nothing"])
    def test_let_no_page_run_foreign_code(self, db, path):
        response = Client().get(path)

        policy = response["Content-Security-Policy"]
        assert "script-src 'self';" in f"{policy};"
        assert "frame-ancestors 'none'" in policy
        assert (response["X-Content-Type-Options"], response["X-Frame-Options"]) == (
            "nosniff",
            "DENY",
        )


class TestHealth:
    def test_needs_no_token(self, db):
        assert Client().get("/health").json()["status"] == "ok"
        assert Client().get("/health/ready").json() == {"status": "ok", "database": "ok"}


class TestRuntimes:
    def test_are_listed(self, api):
        items = api.get("/api/v1/runtimes").json()["items"]

        by_name = {item["name"]: item for item in items}
        assert "python311" in by_name["python3.11"]["aliases"]
        assert by_name["python3.11"]["handlerExample"]


class TestDocument:
    def test_is_openapi_3_1_without_warnings(self, document):
        assert document["openapi"] == "3.1.0"
        assert "/api/v1/functions/{name}/versions/{version}" in document["paths"]

    def test_names_a_problem_for_every_operation(self, document):
        operations = [o for path in document["paths"].values() for o in path.values()]

        assert all("default" in operation["responses"] for operation in operations)

    def test_pages_lists(self, document):
        listing = document["paths"]["/api/v1/functions"]["get"]

        names = {parameter["name"] for parameter in listing["parameters"]}
        assert {"cursor", "limit", "order", "search", "runtime", "tag"} <= names

    def test_is_served_with_its_page(self, db):
        assert APIClient().get("/api/v1/openapi.json").json()["info"]["title"] == "HotSwap"
        page = Client().get("/api/docs").content.decode()
        assert "<script>" not in page
        assert "https://" not in page
