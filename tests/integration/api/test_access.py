"""Who may call what."""

from datetime import timedelta
from uuid import UUID

import jwt
import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from hotswap.access import scopes, signing
from hotswap.access.services import LOGIN_TRIES
from hotswap.core import clock
from tests.integration.control import bearer, client, create, token

PASSWORD = "correct horse battery"
OPEN = {"/api/v1/auth/token", "/api/v1/openapi.json"}
SAMPLES = {
    "name": "thumbs",
    "version": "v1",
    "alias": "production",
    "token_id": 1,
    "request_id": "0123456789ab000000000001",
    "sha256": "0" * 64,
    "deployment_id": UUID(int=1),
    "freeze_id": 1,
    "metric": "conversion",
}
METHODS = ("get", "post", "put", "patch", "delete")


def addresses(prefix: str) -> list[str]:
    """Every address below `prefix`, from the URL table itself."""
    found = []

    def walk(patterns, path):
        for entry in patterns:
            here = path + str(entry.pattern)
            if isinstance(entry, URLResolver):
                walk(entry.url_patterns, here)
            elif isinstance(entry, URLPattern) and here.startswith(prefix):
                found.append(_filled(here, entry.pattern.converters))

    walk(get_resolver().url_patterns, "/")
    return sorted(found)


def _filled(path: str, converters) -> str:
    for name in converters:
        start, end = path.index("<"), path.index(">")
        path = path[:start] + str(SAMPLES[name]) + path[end + 1 :]
    return path


@pytest.fixture
def ada(db, django_user_model):
    return django_user_model.objects.create_user("ada", password=PASSWORD)


def sign_in(**fields):
    body = {"username": "ada", "password": PASSWORD, **fields}
    return APIClient().post("/api/v1/auth/token", body)


class TestEveryAddress:
    def test_is_closed_to_strangers(self, db):
        answers = {
            (path, method): getattr(APIClient(), method)(path)
            for path in addresses("/api/v1/")
            for method in METHODS
        }

        open_ones = {where for where, answer in answers.items() if answer.status_code != 401}
        assert {path for path, _ in open_ones} <= OPEN
        assert len(answers) > 60
        assert all(
            answer["Content-Type"] == "application/problem+json"
            for where, answer in answers.items()
            if where not in open_ones
        )

    def test_is_closed_to_tokens_without_scope(self, db):
        caller = client("tokens:read", username="bob")
        allowed = {"/api/v1/auth/token", "/api/v1/auth/tokens", "/api/v1/openapi.json"}
        answers = {
            (path, method): getattr(caller, method)(path).status_code
            for path in addresses("/api/v1/")
            if path not in allowed
            for method in METHODS
        }

        assert {where for where, status in answers.items() if status not in (403, 405)} == set()

    def test_below_internal_is_closed_to_users(self, api):
        for caller in (APIClient(), api):
            statuses = {
                getattr(caller, method)(path).status_code
                for path in addresses("/internal/v1/")
                for method in ("get", "post")
            }
            assert statuses == {401}

    def test_says_how_to_come_in(self, db):
        response = APIClient().get("/api/v1/functions")

        assert response["WWW-Authenticate"] == "Bearer"
        assert "Authorization: Bearer" in response.json()["detail"]


class TestAccessTokens:
    def test_open_the_api_for_15_minutes(self, ada):
        body = sign_in().json()

        claims = jwt.decode(body["accessToken"], options={"verify_signature": False})
        assert (body["tokenType"], body["expiresIn"]) == ("Bearer", 900)
        assert (claims["sub"], claims["iss"]) == ("ada", "hotswap")
        assert claims["exp"] - claims["iat"] == 900
        assert set(claims["scopes"]) == set(scopes.ALL)
        assert bearer(body["accessToken"]).get("/api/v1/functions").status_code == 200

    def test_can_be_narrowed(self, ada):
        narrow = bearer(sign_in(scopes=["functions:read"]).json()["accessToken"])

        assert narrow.get("/api/v1/functions").status_code == 200
        assert create(narrow).status_code == 403

    @pytest.mark.parametrize("fields", [{"password": "wrong"}, {"username": "eve"}], ids=str)
    def test_are_refused_without_saying_why(self, ada, fields):
        response = sign_in(**fields)

        assert (response.status_code, response.json()["detail"]) == (
            401,
            "The user name or the password is wrong.",
        )

    def test_are_not_for_disabled_users(self, ada):
        caller = bearer(sign_in().json()["accessToken"])
        ada.is_active = False
        ada.save()

        assert (sign_in().status_code, caller.get("/api/v1/functions").status_code) == (401, 401)

    def test_cannot_be_guessed_fast(self, ada):
        statuses = [sign_in(password=str(n)).status_code for n in range(LOGIN_TRIES + 1)]

        assert statuses == [401] * LOGIN_TRIES + [429]
        assert sign_in()["Retry-After"] == "60"

    @pytest.mark.parametrize("wanted", [[], ["functions:own"], "functions:read", None], ids=repr)
    def test_know_no_other_scopes(self, ada, wanted):
        assert sign_in(scopes=wanted).status_code == 422

    def forged(self, **changes):
        now = clock.utc_now()
        claims = {
            "iss": "hotswap",
            "sub": "ada",
            "scopes": list(scopes.ALL),
            "iat": now,
            "exp": now + timedelta(minutes=5),
            "jti": "x",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    @pytest.mark.parametrize(
        "changes",
        [
            {"exp": 1},
            {"exp": None},
            {"iss": "hotswap.example"},
            {"iss": None},
            {"sub": "eve"},
            {"sub": None},
            {"jti": None},
            {"scopes": None},
            {"nbf": 99_999_999_999},
        ],
        ids=str,
    )
    def test_are_refused_with_wrong_claims(self, ada, changes):
        text = jwt.encode(
            self.forged(**changes), signing._key(), "EdDSA", headers={"kid": signing.key_id()}
        )

        assert bearer(text).get("/api/v1/functions").status_code == 401

    @pytest.mark.parametrize("algorithm", ["none", "HS256"])
    def test_are_refused_with_another_algorithm(self, ada, algorithm):
        key = "" if algorithm == "none" else "k" * 32
        text = jwt.encode(self.forged(), key, algorithm, headers={"kid": signing.key_id()})

        assert bearer(text).get("/api/v1/functions").status_code == 401

    def test_are_refused_with_one_bit_changed(self, ada):
        text = sign_in().json()["accessToken"]
        head, payload, signature = text.split(".")
        flipped = ("B" if signature[5] == "A" else "A").join([signature[:5], signature[6:]])

        assert bearer(f"{head}.{payload}.{flipped}").get("/api/v1/functions").status_code == 401


class TestBearer:
    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer none",
            "Bearer hs_x",
            "Bearer " + "x" * 9**4,
        ],
        ids=lambda header: header[:20],
    )
    def test_is_never_ignored(self, db, header):
        response = APIClient(headers={"Authorization": header}).get("/api/v1/functions")

        assert response.status_code == 401

    def test_may_be_spelt_in_lower_case(self, db):
        caller = APIClient(headers={"Authorization": f"bearer {token()}"})

        assert caller.get("/api/v1/functions").status_code == 200


class TestPersonalTokens:
    def made(self, api, **fields):
        return api.post(
            "/api/v1/auth/tokens", {"name": "ci", "scopes": ["functions:read"], **fields}
        )

    def test_are_shown_once(self, api):
        made = self.made(api).json()

        listed = {t["name"]: t for t in api.get("/api/v1/auth/tokens").json()["items"]}
        assert made["token"].startswith(listed["ci"]["hint"])
        assert "token" not in listed["ci"]
        assert bearer(made["token"]).get("/api/v1/functions").status_code == 200

    def test_are_stored_as_a_hash(self, api, django_user_model):
        plain = self.made(api).json()["token"]

        row = django_user_model.objects.get(username="ada").access_tokens.get(name="ci")
        assert plain not in {str(value) for value in vars(row).values()}

    def test_end_when_they_are_revoked(self, api):
        made = self.made(api).json()

        assert api.delete(f"/api/v1/auth/tokens/{made['id']}").status_code == 204
        assert bearer(made["token"]).get("/api/v1/functions").status_code == 401
        assert api.delete(f"/api/v1/auth/tokens/{made['id']}").status_code == 404

    def test_end_at_their_time(self, api, django_user_model):
        soon = clock.utc_now() + timedelta(hours=1)
        plain = self.made(api, expiresAt=soon.isoformat()).json()["token"]
        assert bearer(plain).get("/api/v1/functions").status_code == 200

        ada = django_user_model.objects.get(username="ada")
        ada.access_tokens.filter(name="ci").update(expires_at=clock.utc_now())

        assert bearer(plain).get("/api/v1/functions").status_code == 401

    def test_belong_to_one_user(self, api):
        made = self.made(api).json()
        bob = client(username="bob")

        assert bob.delete(f"/api/v1/auth/tokens/{made['id']}").status_code == 404
        assert {t["name"] for t in bob.get("/api/v1/auth/tokens").json()["items"]} == {"bob "}

    def test_tell_when_they_were_used(self, api):
        plain = self.made(api).json()["token"]
        bearer(plain).get("/api/v1/functions")

        listed = {t["name"]: t for t in api.get("/api/v1/auth/tokens").json()["items"]}
        assert listed["ci"]["lastUsedAt"] is not None

    @pytest.mark.parametrize(
        "fields",
        [
            {"name": ""},
            {"name": "x" * 65},
            {"scopes": []},
            {"scopes": ["all"]},
            {"expiresAt": "2001-01-01T00:00:00Z"},
        ],
        ids=str,
    )
    def test_need_a_name_scopes_and_a_future(self, api, fields):
        assert self.made(api, **fields).status_code == 422

    def test_have_different_names(self, api):
        self.made(api)

        assert self.made(api).status_code == 409

    def test_are_not_kept_for_repeats(self, api):
        headers = {"Idempotency-Key": "once"}
        body = {"name": "ci", "scopes": ["functions:read"]}

        first = api.post("/api/v1/auth/tokens", body, headers=headers)
        second = api.post("/api/v1/auth/tokens", body, headers=headers)

        assert (first.status_code, second.status_code) == (201, 409)


class TestSession:
    def test_may_read(self, ada):
        browser = Client()
        browser.force_login(ada)

        assert browser.get("/api/v1/functions").status_code == 200

    def test_must_show_its_csrf_token_to_write(self, ada):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(ada)
        body = '{"name": "f", "runtime": "python3.11", "handler": "a.b"}'

        blind = browser.post("/api/v1/functions", body, content_type="application/json")
        browser.cookies["csrf"] = "t" * 32
        seeing = browser.post(
            "/api/v1/functions",
            body,
            content_type="application/json",
            headers={"X-CSRFToken": "t" * 32},
        )

        assert (blind.status_code, seeing.status_code) == (403, 201)
