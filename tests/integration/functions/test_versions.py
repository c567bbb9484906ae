"""Versions and packages through the API."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction

from functions.models import Artifact, FunctionVersion
from functions.services.artifacts import artifacts_collect
from functions.services.functions import functions_purge
from functions.services.versions import versions_prune
from hotswap.core import clock
from tests import zips
from tests.integration.control import (
    bearer,
    create,
    deployed,
    downloaded,
    encoded,
    packages_kept,
    point,
    token,
    upload,
)

VERSIONS = "/api/v1/functions/thumbs/versions"
ZIP = "application/zip"


def number(response) -> str:
    assert response.status_code == 201, response.content
    return response.json()["version"]


class TestUpload:
    @pytest.fixture(autouse=True)
    def function(self, api):
        create(api)

    def test_answers_with_the_version(self, api):
        response = upload(api, message="first light")

        body = response.json()
        assert (response.status_code, response["Location"]) == (201, f"{VERSIONS}/v1")
        assert body["codeSha256"] == hashlib.sha256(zips.packed()).hexdigest()
        assert (body["codeSize"], body["message"]) == (len(zips.packed()), "first light")

    @pytest.mark.parametrize(
        "fields",
        [
            {"zipFile": encoded()},
            {"code": encoded()},
            {"code": {"zipFile": encoded()}},
            {"files": zips.HANDLER},
        ],
        ids=["zipFile", "code", "code.zipFile", "files"],
    )
    def test_takes_json(self, api, fields):
        assert number(api.post(VERSIONS, fields)) == "v1"

    @pytest.mark.parametrize("content_type", [ZIP, "application/octet-stream"])
    def test_takes_raw_bytes(self, api, content_type):
        response = api.post(f"{VERSIONS}?message=raw", zips.packed(), content_type=content_type)

        assert (number(response), response.json()["message"]) == ("v1", "raw")

    def test_takes_a_form(self, api):
        file = SimpleUploadedFile("code.zip", zips.packed(), content_type=ZIP)

        response = api.post(VERSIONS, {"package": file, "message": "form"}, format="multipart")

        assert (number(response), response.json()["message"]) == ("v1", "form")

    def test_takes_the_environment_of_the_specification(self, api):
        upload(api, environment={"BUCKET": "a"})

        assert api.get(f"{VERSIONS}/1").json()["environment"] == {"BUCKET": "a"}
        assert api.get("/api/v1/functions/thumbs").json()["environment"] == {"BUCKET": "a"}

    def test_numbers_versions_also_when_the_bytes_repeat(self, api):
        assert [number(upload(api)), number(upload(api))] == ["v1", "v2"]
        assert len(packages_kept()) == 1

    def test_hashes_the_same_files_alike(self, api):
        files = {"main.py": "def handler(e, c): ...", "lib/a.py": "x = 1"}
        first = api.post(VERSIONS, {"files": files}).json()
        second = api.post(VERSIONS, {"files": dict(reversed(files.items()))}).json()

        assert first["codeSha256"] == second["codeSha256"]

    def test_edits_some_files_and_keeps_the_others(self, api):
        data = zips.packed({**zips.HANDLER, "logo.png": b"\x89PNG\0", "old.py": ""})
        api.post(VERSIONS, data, content_type=ZIP)
        edits = {"main.py": "def handler(e, c): return 2", "new.py": "n = 1", "old.py": None}

        number(api.post(VERSIONS, {"files": edits, "baseVersion": "v1"}))

        files = {f["name"]: f["text"] for f in api.get(f"{VERSIONS}/v2/files").json()["files"]}
        assert files == {
            "logo.png": None,
            "main.py": "def handler(e, c): return 2",
            "new.py": "n = 1",
        }

    def test_takes_the_newest_code_when_there_is_none(self, api):
        first = upload(api).json()
        api.patch("/api/v1/functions/thumbs", {"memorySize": 512})

        second = api.post(VERSIONS, {"description": "more memory"}).json()

        assert second["codeSha256"] == first["codeSha256"]
        assert (second["memorySize"], second["message"]) == (512, "more memory")

    def test_needs_code_the_first_time(self, api):
        assert api.post(VERSIONS, {}).status_code == 404

    def test_checks_a_changed_handler_against_the_old_code(self, api):
        upload(api)
        api.patch("/api/v1/functions/thumbs", {"handler": "other.handler"})

        assert api.post(VERSIONS, {}).json()["reason"] == "handler-missing"

    def test_finds_the_handler_in_folders(self, api):
        api.patch("/api/v1/functions/thumbs", {"handler": "app.main.run"})

        files = {"app/__init__.py": "", "app/main.py": "def run(e, c): ..."}

        assert number(api.post(VERSIONS, {"files": files})) == "v1"

    @pytest.mark.parametrize(("length", "status"), [(500, 201), (501, 422)])
    def test_bounds_the_message(self, api, length, status):
        assert upload(api, message="m" * length).status_code == status

    @pytest.mark.parametrize("body", [[], "text", 7, None], ids=repr)
    def test_refuses_json_that_is_no_object(self, api, body):
        assert api.post(VERSIONS, body).status_code in (400, 404, 422)


REFUSED = {
    "not-a-zip": b"plain text",
    "damaged": zips.packed()[:-9],
    "path-traversal": zips.named(b"../main.py"),
    "absolute-path": zips.named(b"/main.py"),
    "special-file": zips.member("main.py", b"/etc/passwd", attributes=0o120777 << 16),
    "bomb": zips.packed({"main.py": "", "zeros": bytes(1024 * 1024 + 1)}),
    "too-many-files": zips.packed({str(n): "" for n in range(10_001)}),
    "too-deep": zips.packed({"d/" * 20 + "main.py": ""}),
    "handler-missing": zips.packed({"folder/main.py": ""}),
}


class TestRefusal:
    @pytest.mark.parametrize(("reason", "data"), REFUSED.items(), ids=list(REFUSED))
    def test_says_why_and_leaves_nothing_behind(self, api, reason, data):
        create(api)

        response = api.post(VERSIONS, data, content_type=ZIP)

        body = response.json()
        assert (response.status_code, body["type"]) == (422, "/problems/invalid-package")
        assert (body["reason"], body["fault"]) == (reason, "caller")
        assert (packages_kept(), Artifact.objects.count()) == ([], 0)
        assert not FunctionVersion.objects.exists()

    def test_counts_the_bytes_of_the_upload(self, api):
        create(api)

        response = api.post(VERSIONS, bytes(50 * 1024 * 1024 + 1), content_type=ZIP)

        assert (response.status_code, packages_kept()) == (413, [])

    @pytest.mark.parametrize("code", ["%%%", "YQ", {"zip": "x"}, 7, [1]], ids=repr)
    def test_says_what_is_wrong_with_the_json(self, api, code):
        create(api)

        assert api.post(VERSIONS, {"code": code}).status_code in (400, 422)

    def test_knows_no_other_media_type(self, api):
        create(api)

        response = api.post(VERSIONS, b"x", content_type="application/x-tar")

        assert (response.status_code, response.json()["status"]) == (415, 415)


@pytest.mark.django_db(transaction=True)
class TestConcurrentUploads:
    def test_make_numbers_without_gap_or_repeat(self):
        plain = token()
        create(bearer(plain))

        def one(n):
            try:
                return number(bearer(plain).post(VERSIONS, {"files": {"main.py": f"n = {n % 5}"}}))
            finally:
                connection.close()

        with ThreadPoolExecutor(50) as pool:
            made = list(pool.map(one, range(50)))

        assert sorted(made, key=lambda v: int(v[1:])) == [f"v{n}" for n in range(1, 51)]
        assert len(packages_kept()) == 5


class TestRead:
    def test_knows_a_version_by_three_names(self, api):
        deployed(api, versions=2)

        names = ["v2", "2", "$LATEST", "%24LATEST"]
        assert {api.get(f"{VERSIONS}/{name}").json()["version"] for name in names} == {"v2"}

    @pytest.mark.parametrize("name", ["v0", "v3", "latest", "v-1", "v1.0", "999999999"])
    def test_knows_no_other(self, api, name):
        deployed(api)

        assert api.get(f"{VERSIONS}/{name}").status_code == 404

    def test_lists_the_newest_first(self, api):
        deployed(api, versions=3)

        items = api.get(VERSIONS).json()["items"]
        assert [item["version"] for item in items] == ["v3", "v2", "v1"]

    def test_downloads_the_very_bytes(self, api):
        deployed(api)

        response = api.get(f"{VERSIONS}/v1/code")

        assert downloaded(response) == zips.packed()
        assert (response["Content-Type"], int(response["Content-Length"])) == (
            ZIP,
            len(zips.packed()),
        )

    def test_shows_text_files_and_names_the_others(self, api):
        create(api)
        files = {**zips.HANDLER, "data.bin": b"\xff\xfe\0", "big.txt": "x" * (256 * 1024 + 1)}
        upload(api, zipFile=encoded(files))

        shown = {f["name"]: f for f in api.get(f"{VERSIONS}/v1/files").json()["files"]}

        assert shown["main.py"]["text"] == zips.HANDLER["main.py"]
        assert (shown["data.bin"]["text"], shown["big.txt"]["text"]) == (None, None)
        assert shown["big.txt"]["size"] == 256 * 1024 + 1

    def test_does_not_show_other_bytes_than_were_stored(self, api, settings):
        deployed(api)
        [path] = list(settings.STATE_DIR.glob("packages/*/*.zip"))
        path.write_bytes(zips.packed({"main.py": "evil"}))

        assert api.get(f"{VERSIONS}/v1/files").status_code == 503


class TestImmutability:
    def test_is_kept_by_the_database(self, api):
        deployed(api)

        with pytest.raises(IntegrityError, match="immutable"), transaction.atomic():
            FunctionVersion.objects.update(handler="evil.handler")
        with pytest.raises(IntegrityError, match="immutable"), transaction.atomic():
            Artifact.objects.update(size_bytes=1)


class TestDelete:
    def test_removes_an_old_version_and_never_reuses_its_number(self, api):
        deployed(api, versions=2)

        assert api.delete(f"{VERSIONS}/v1").status_code == 204
        assert api.get(f"{VERSIONS}/v1").status_code == 404
        assert number(upload(api)) == "v3"

    def test_refuses_a_version_in_use_and_names_the_alias(self, api):
        deployed(api, versions=2)
        point(api, "production")

        response = api.delete(f"{VERSIONS}/v1")

        assert (response.status_code, response.json()["aliases"]) == (409, ["production"])

    def test_refuses_the_newest(self, api):
        deployed(api)

        assert api.delete(f"{VERSIONS}/$LATEST").status_code == 409


class TestRetention:
    def test_keeps_the_newest_and_whatever_is_in_use(self, api):
        deployed(api, versions=5)
        point(api, "production")

        pruned = versions_prune(keep=2, now=clock.utc_now())

        left = [item["version"] for item in api.get(VERSIONS).json()["items"]]
        assert (pruned, left) == (2, ["v5", "v4", "v1"])

    def test_collects_packages_that_nothing_uses(self, api):
        deployed(api)
        upload(api, zipFile=encoded({"main.py": "x = 2"}))
        later = clock.utc_now() + timedelta(minutes=1)
        assert artifacts_collect(unused_since=later) == 0

        api.delete(f"{VERSIONS}/v1")

        assert (artifacts_collect(unused_since=later), len(packages_kept())) == (1, 1)
        assert downloaded(api.get(f"{VERSIONS}/v2/code")) == zips.packed({"main.py": "x = 2"})

    def test_leaves_packages_that_were_just_uploaded(self, api):
        deployed(api, versions=2)
        now = clock.utc_now()
        api.delete("/api/v1/functions/thumbs")
        functions_purge(before=now + timedelta(seconds=9), now=now)

        assert artifacts_collect(unused_since=now - timedelta(hours=1)) == 0
        assert artifacts_collect(unused_since=now + timedelta(minutes=1)) == 1
        assert packages_kept() == []

    def test_lets_collected_bytes_come_back(self, api):
        deployed(api)
        upload(api, zipFile=encoded({"main.py": "x = 2"}))
        api.delete(f"{VERSIONS}/v1")
        artifacts_collect(unused_since=clock.utc_now() + timedelta(minutes=1))

        number(upload(api))

        assert downloaded(api.get(f"{VERSIONS}/v3/code")) == zips.packed()
