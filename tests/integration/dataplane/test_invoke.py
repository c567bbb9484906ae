"""Calling functions through a real gateway and a real runner: routes, modes, errors, limits."""

import asyncio
import base64
import json
import secrets
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from hotswap.core.limits import REQUEST_MAX_BYTES
from tests.integration.dataplane.conftest import TOKEN, DataPlane

ECHO = """
def handler(event, context):
    return {"event": event, "id": context.aws_request_id, "version": context.function_version}
"""


class TestInvoke:
    def test_answers_as_the_specification_says(self, plane: DataPlane) -> None:
        plane.upload("echo", ECHO)

        answer = plane.invoke("echo", json.dumps({"key": "value"}))

        document = answer.json()
        assert answer.status_code == 200, answer.text
        assert json.loads(document["body"])["event"] == {"key": "value"}
        assert (document["statusCode"], document["executedVersion"]) == (200, "v1")
        assert document["coldStart"] is True
        assert document["billedDuration"] % 100 == 0
        assert document["durations"]["runMs"] == document["executionTime"]
        assert document["requestId"] == json.loads(document["body"])["id"]

    def test_takes_a_payload_that_is_json_itself(self, plane: DataPlane) -> None:
        plane.upload("echo-json", ECHO)

        answer = plane.invoke("echo-json", {"a": [1, 2]})

        assert json.loads(answer.json()["body"])["event"] == {"a": [1, 2]}

    def test_is_warm_the_second_time(self, plane: DataPlane) -> None:
        plane.upload("warm", ECHO)
        plane.invoke("warm")

        again = plane.invoke("warm").json()

        assert (again["coldStart"], again["durations"]["initMs"]) == (False, 0)

    def test_carries_any_body_in_raw_mode(self, plane: DataPlane) -> None:
        plane.upload("raw", "def handler(event, context):\n    return event[::-1]\n")

        answer = plane.client.post(
            "/api/v1/functions/raw/invoke",
            content=b"\x00\x01\xff",
            headers={"X-HotSwap-Mode": "raw", "Content-Type": "application/octet-stream"},
        )

        assert answer.content == b"\xff\x01\x00"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-hotswap-start"] == "cold"

    def test_gives_binary_results_as_base64_in_the_envelope(self, plane: DataPlane) -> None:
        plane.upload("binary", "def handler(event, context):\n    return bytes([0, 255])\n")

        document = plane.invoke("binary").json()

        assert document["isBase64Encoded"] is True
        assert base64.b64decode(document["body"]) == b"\x00\xff"

    def test_lets_the_function_choose_status_and_safe_headers(self, plane: DataPlane) -> None:
        source = (
            "def handler(event, context):\n"
            "    return {'statusCode': 201, 'body': 'made', 'headers': {'X-Kind': 'a', "
            "'Set-Cookie': 'sessionid=evil', 'X-HotSwap-Start': 'lie'}}\n"
        )
        plane.upload("shaped", source)

        answer = plane.raw("shaped")

        assert (answer.status_code, answer.text, answer.headers["x-kind"]) == (201, "made", "a")
        assert "set-cookie" not in answer.headers
        assert answer.headers["x-hotswap-start"] == "cold"
        assert "sandbox" in answer.headers["content-security-policy"]


class TestVersions:
    @pytest.fixture
    def many(self, plane: DataPlane) -> str:
        """A function with three versions and two aliases."""
        name = f"many-{secrets.token_hex(4)}"
        for number in (1, 2, 3):
            plane.upload(name, f"def handler(event, context):\n    return {number}\n")
        plane.control.alias(name, "stable", {2: 10_000})
        plane.control.alias(name, "split", {1: 2_500, 3: 7_500})
        plane.control.wait_applied()
        return name

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, "v3"),
            ({"alias": "stable"}, "v2"),
            ({"alias": "$LATEST"}, "v3"),
            ({"version": "v1"}, "v1"),
            ({"version": 2}, "v2"),
        ],
        ids=["default is the newest", "alias", "$LATEST", "version", "number"],
    )
    def test_are_chosen_in_the_body(
        self, plane: DataPlane, many: str, options: dict[str, object], expected: str
    ) -> None:
        assert plane.invoke(many, **options).json()["executedVersion"] == expected

    def test_are_chosen_by_header_and_query(self, plane: DataPlane, many: str) -> None:
        by_header = plane.raw(many, Alias="stable")
        by_query = plane.client.post(f"/api/v1/functions/{many}/invoke?version=v1", json={})

        assert by_header.headers["x-hotswap-executed-version"] == "v2"
        assert by_query.json()["executedVersion"] == "v1"

    def test_split_by_weight(self, plane: DataPlane, many: str) -> None:
        bodies = [plane.raw(many, Alias="split").text for _ in range(400)]

        assert set(bodies) == {"1", "3"}
        assert 60 <= bodies.count("1") <= 145  # 100 expected; 5 standard deviations

    def test_that_do_not_exist_are_named(self, plane: DataPlane, many: str) -> None:
        answer = plane.invoke(many, version="v9")

        assert answer.status_code == 404
        assert "has no version 'v9'; it has $LATEST, split, stable, v1, v2, v3" in answer.text

    def test_production_is_the_default_once_it_exists(self, plane: DataPlane) -> None:
        plane.upload("released", "def handler(event, context):\n    return 1\n")
        plane.upload("released", "def handler(event, context):\n    return 2\n")
        plane.control.alias("released", "production", {1: 10_000})
        plane.control.wait_applied()

        assert plane.invoke("released").json()["executedVersion"] == "v1"


class TestFailures:
    @pytest.mark.parametrize(
        ("source", "status", "slug", "fault"),
        [
            (
                "def handler(e, c):\n    raise KeyError('gone')\n",
                502,
                "function-raised",
                "function",
            ),
            ("def handler(e, c):\n    return {1, 2}\n", 502, "bad-result", "function"),
            ("import nothing_like_it\n", 502, "init-failed", "function"),
            ("def other(e, c): pass\n", 502, "init-failed", "function"),
            (
                "import os\ndef handler(e, c):\n    os._exit(3)\n",
                502,
                "function-crashed",
                "function",
            ),
            ("import os\nos._exit(4)\n", 502, "init-failed", "function"),
        ],
        ids=["raised", "bad result", "import", "no handler", "exit in call", "exit in import"],
    )
    def test_say_whose_fault_it_was(
        self, plane: DataPlane, source: str, status: int, slug: str, fault: str
    ) -> None:
        name = f"fail-{abs(hash(source)) % 10**8}"
        plane.upload(name, source)

        answer = plane.invoke(name)

        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, problem["type"]) == (status, f"/problems/{slug}")
        assert problem["fault"] == fault
        assert problem["instance"] == answer.headers["x-hotswap-request-id"]

    def test_show_type_message_and_stack_of_what_was_raised(self, plane: DataPlane) -> None:
        plane.upload("raiser", "def handler(e, c):\n    raise ValueError('no such user')\n")

        problem = plane.invoke("raiser").json()

        assert (problem["errorType"], problem["errorMessage"]) == ("ValueError", "no such user")
        assert any("app.py" in line for line in problem["stackTrace"])
        assert not any("bootstrap" in line for line in problem["stackTrace"])

    def test_timeout_kills_the_instance_and_the_next_call_works(self, plane: DataPlane) -> None:
        source = "import time\ndef handler(e, c):\n    time.sleep(e or 0)\n    return 'ok'\n"
        plane.upload("sleeper", source, timeout_ms=1_000)

        late = plane.invoke("sleeper", 30)
        after = plane.invoke("sleeper", 0)

        assert (late.status_code, late.json()["type"]) == (504, "/problems/function-timeout")
        assert after.json()["body"] == '"ok"'
        assert after.json()["coldStart"] is True

    def test_crash_of_one_instance_leaves_others_alone(self, plane: DataPlane) -> None:
        source = (
            "import os, time\ndef handler(event, context):\n    time.sleep(0.3)\n"
            "    os._exit(1) if event else None\n    return 'fine'\n"
        )
        plane.upload("partly", source)

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: plane.invoke("partly", n == 3), range(8)))

        assert sorted(a.status_code for a in answers) == [200] * 7 + [502]


class TestAuthentication:
    def test_refuses_a_call_without_a_token(self, plane: DataPlane) -> None:
        answer = httpx2.post(f"{plane.url}/api/v1/functions/echo/invoke", json={})

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        "header", ["Bearer nothing", "Bearer hs_wrong", "Basic eDp5", "Bearer"]
    )
    def test_refuses_a_token_it_does_not_know(self, plane: DataPlane, header: str) -> None:
        answer = httpx2.post(
            f"{plane.url}/api/v1/functions/echo/invoke", headers={"Authorization": header}
        )

        assert answer.status_code == 401

    def test_does_not_tell_strangers_which_functions_exist(self, plane: DataPlane) -> None:
        plane.upload("known", ECHO)

        answers = [
            httpx2.post(f"{plane.url}/api/v1/functions/{name}/invoke") for name in ("known", "none")
        ]

        assert [a.status_code for a in answers] == [401, 401]

    def test_refuses_a_token_that_may_not_invoke(self, plane: DataPlane) -> None:
        plane.control.token("hs_reader", scopes=("functions:read",))
        plane.control.wait_applied()

        answer = httpx2.post(
            f"{plane.url}/api/v1/functions/echo/invoke",
            headers={"Authorization": "Bearer hs_reader"},
        )

        assert answer.status_code == 403

    def test_refuses_a_token_as_soon_as_it_is_revoked(self, plane: DataPlane) -> None:
        plane.upload("echo-revoked", ECHO)
        plane.control.token("hs_short_lived")
        plane.control.wait_applied()
        headers = {"Authorization": "Bearer hs_short_lived"}
        url = f"{plane.url}/api/v1/functions/echo-revoked/invoke"
        before = httpx2.post(url, headers=headers)

        plane.control.revoke("hs_short_lived")
        plane.control.wait_applied()

        assert (before.status_code, httpx2.post(url, headers=headers).status_code) == (200, 401)


class TestLimits:
    def test_a_request_of_six_mebibytes_passes(self, plane: DataPlane) -> None:
        plane.upload("length", "def handler(event, context):\n    return len(event)\n")

        fits = plane.client.post(
            "/api/v1/functions/length/invoke",
            content=b"x" * REQUEST_MAX_BYTES,
            headers={"X-HotSwap-Mode": "raw", "Content-Type": "text/plain"},
        )
        over = plane.client.post(
            "/api/v1/functions/length/invoke",
            content=b"x" * (REQUEST_MAX_BYTES + 1),
            headers={"X-HotSwap-Mode": "raw", "Content-Type": "text/plain"},
        )

        assert (fits.status_code, fits.text) == (200, str(REQUEST_MAX_BYTES))
        assert (over.status_code, over.json()["type"]) == (413, "/problems/payload-too-large")

    def test_a_response_of_six_mebibytes_passes(self, plane: DataPlane) -> None:
        plane.upload("filler", "def handler(event, context):\n    return b'x' * event\n")

        fits = plane.raw("filler", str(REQUEST_MAX_BYTES).encode())
        over = plane.raw("filler", str(REQUEST_MAX_BYTES + 1).encode())

        assert (fits.status_code, len(fits.content)) == (200, REQUEST_MAX_BYTES)
        assert (over.status_code, over.json()["type"]) == (502, "/problems/response-too-large")

    def test_calls_beyond_instances_and_queue_are_refused_at_once(self, plane: DataPlane) -> None:
        source = "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return 1\n"
        plane.upload("narrow", source, max_instances=2, max_queue=3)

        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda _: plane.invoke("narrow"), range(10)))

        refused = [a for a in answers if a.status_code == 429]
        assert 3 <= [a.status_code for a in answers].count(200) <= 5
        assert len(refused) >= 5
        assert refused[0].headers["retry-after"] == "1"
        assert refused[0].json()["type"] == "/problems/throttled"

    def test_reserved_concurrency_bounds_calls_that_run(self, plane: DataPlane) -> None:
        source = (
            "import time\ndef handler(event, context):\n    began = time.time()\n"
            "    time.sleep(0.2)\n    return [began, time.time()]\n"
        )
        plane.upload("reserved", source, reserved_concurrency=2)

        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda _: plane.raw("reserved").json(), range(6)))

        overlaps = [sum(a[0] <= b[0] < a[1] for a in answers) for b in answers]
        assert max(overlaps) == 2

    def test_async_invocation_says_that_it_is_not_there(self, plane: DataPlane) -> None:
        answer = plane.client.post("/api/v1/functions/echo/invoke-async", json={})

        assert (answer.status_code, answer.json()["type"]) == (501, "/problems/not-implemented")

    @pytest.mark.parametrize("body", [b"{", b"[1]", b'{"alias": 3}', b'{"invocationType": "Odd"}'])
    def test_a_malformed_envelope_is_explained(self, plane: DataPlane, body: bytes) -> None:
        plane.upload("enveloped", ECHO)

        answer = plane.client.post("/api/v1/functions/enveloped/invoke", content=body)

        assert answer.status_code in (400, 422)
        assert answer.json()["fault"] == "caller"


class TestMany:
    async def test_a_thousand_calls_at_once_each_get_their_own_answer(
        self, plane: DataPlane
    ) -> None:
        plane.upload("nonce", "def handler(event, context):\n    return event\n", max_instances=8)
        limits = httpx2.Limits(max_connections=1_000, max_keepalive_connections=1_000)

        async with httpx2.AsyncClient(
            base_url=plane.url,
            headers={"Authorization": f"Bearer {TOKEN}", "X-HotSwap-Mode": "raw"},
            limits=limits,
            timeout=60,
        ) as client:

            async def call(nonce: int) -> bool:
                answer = await client.post("/api/v1/functions/nonce/invoke", json={"nonce": nonce})
                return answer.json() == {"nonce": nonce}

            results = await asyncio.gather(*(call(nonce) for nonce in range(1_000)))

        assert all(results)

    def test_cold_calls_of_one_function_share_one_start(self, plane: DataPlane) -> None:
        source = (
            "import time, os\ntime.sleep(0.2)\nPID = os.getpid()\n"
            "def handler(event, context):\n    return PID\n"
        )
        plane.upload("flight", source, max_instances=1)

        with ThreadPoolExecutor(10) as threads:
            pids = {
                plane_answer.text
                for plane_answer in threads.map(lambda _: plane.raw("flight"), range(10))
            }

        assert len(pids) == 1
