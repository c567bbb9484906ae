"""From an upload to the calls that meet it: what a deployer and the callers see meanwhile."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import pytest

from tests.e2e.load import Call, load
from tests.e2e.stack import PYTHON_RUNTIME, Stack

MOVES = 50
ROUNDS = 100

pytestmark = pytest.mark.root


def answering(text: str) -> dict[str, str]:
    """Code that answers this text."""
    return {"app.py": f"def handler(event, context):\n    return {text!r}\n"}


@dataclass(frozen=True, slots=True)
class Move:
    """The alias led to `version` at some moment from `asked` on, surely from `done` on."""

    version: str
    asked: float
    done: float


class TestAliasMovedUnderLoad:
    @pytest.mark.parametrize("door", ["gateway", "web"])
    def test_fails_no_call_and_serves_only_current_versions(self, stack: Stack, door: str) -> None:
        name = f"moving-{door}"
        stack.deploy(name, answering("v1"), memorySize=128)
        aliases = f"/api/v1/functions/{name}/aliases"
        moves = [Move("v1", 0.0, 0.0)]
        created = stack.api.post(aliases, json={"name": "live", "version": "v1"})
        assert created.status_code == 201

        url = stack.url if door == "web" else stack.gateway_url
        with load(stack, name, clients=3, url=url, alias="live") as book:
            for number in range(2, (MOVES if door == "gateway" else 10) + 2):
                version = stack.upload(name, answering(f"v{number}"))
                asked = time.monotonic()
                moved = stack.api.put(f"{aliases}/live", json={"version": version})
                assert moved.status_code == 200, moved.text
                moves.append(Move(version, asked, time.monotonic()))
            stack.wait(lambda: book.calls[-1].version == moves[-1].version, 30)

        assert [call for call in book.calls if call.status != 200] == []
        assert [call for call in book.calls if not was_current(call, moves)] == []
        assert len({call.version for call in book.calls}) >= 3  # new code starts meanwhile


def was_current(call: Call, moves: list[Move]) -> bool:
    """Whether the alias led to the call's version at some time during the call."""
    index = next(i for i, move in enumerate(moves) if move.version == call.version)
    until = moves[index + 1].done if index + 1 < len(moves) else float("inf")
    return (
        moves[index].asked <= call.ended
        and call.began <= until
        and call.text == f'"{call.version}"'
    )


class TestAChange:
    """Is in force at the gateway when the API has answered."""

    def test_of_functions_made_and_deleted(self, stack: Stack) -> None:
        with ThreadPoolExecutor(2) as threads:
            seen = list(threads.map(lambda n: self.life(stack, f"life-{n}"), range(ROUNDS)))

        assert seen == [(200, 404)] * ROUNDS

    def life(self, stack: Stack, name: str) -> tuple[int, int]:
        """Statuses of a call right after a function was made, and right after its deletion."""
        body = {"name": name, "runtime": PYTHON_RUNTIME, "handler": "app.handler"}
        body |= {"memorySize": 128, "files": answering("alive")}
        stack.api.post("/api/v1/functions", json=body).raise_for_status()
        first = stack.invoke(name).status_code
        stack.api.delete(f"/api/v1/functions/{name}").raise_for_status()
        return first, stack.invoke(name).status_code

    def test_of_an_alias(self, stack: Stack) -> None:
        stack.deploy("turning", answering("v1"))
        stack.upload("turning", answering("v2"))
        alias = "/api/v1/functions/turning/aliases"
        stack.api.post(alias, json={"name": "live", "version": "v1"}).raise_for_status()
        wanted = [f"v{n % 2 + 1}" for n in range(ROUNDS)]

        seen = []
        for version in wanted:
            stack.api.put(f"{alias}/live", json={"version": version}).raise_for_status()
            seen.append(stack.invoke("turning", alias="live").json()["executedVersion"])

        assert seen == wanted

    def test_of_tokens(self, stack: Stack) -> None:
        stack.deploy("guarded-by-token", answering("in"))
        seen = [self.token_life(stack, n) for n in range(ROUNDS)]

        assert seen == [(200, 401)] * ROUNDS

    def token_life(self, stack: Stack, number: int) -> tuple[int, int]:
        """Statuses of a call right after the token was made, and right after it was revoked."""
        tokens = "/api/v1/auth/tokens"
        wanted = {"name": f"brief {number}", "scopes": ["functions:invoke"]}
        made = stack.api.post(tokens, json=wanted).json()
        first = self.call_with(stack, made["token"])
        stack.api.delete(f"{tokens}/{made['id']}").raise_for_status()
        return first, self.call_with(stack, made["token"])

    def call_with(self, stack: Stack, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return stack.gateway.post(
            "/api/v1/functions/guarded-by-token/invoke", json={}, headers=headers
        ).status_code

    def test_of_a_password_session_signs_calls_of_the_gateway(self, stack: Stack) -> None:
        stack.deploy("signed", answering("in"))
        who = {"username": "admin", "password": stack.password}

        token = stack.api.post("/api/v1/auth/token", json=who).json()["accessToken"]

        answer = httpx2.post(
            f"{stack.gateway_url}/api/v1/functions/signed/invoke",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 200


class TestAWholeLife:
    def test_of_a_function_by_its_specified_requests(self, stack: Stack) -> None:
        """FR-FN-001 to 003: create, upload, configure, point, call, look, delete, restore."""
        name = f"whole-{secrets.token_hex(3)}"
        function = f"/api/v1/functions/{name}"
        stack.deploy(name, answering("one"), runtime="Python311", environment={"A": "1"})
        etag = stack.api.get(function).headers["etag"]

        changed = stack.api.patch(function, json={"timeout": 5}, headers={"If-Match": etag})
        stale = stack.api.patch(function, json={"timeout": 9}, headers={"If-Match": etag})
        second = stack.upload(name, answering("two"), message="better")
        pinned = stack.api.post(f"{function}/aliases", json={"name": "production", "version": "v1"})
        by_default = stack.invoke(name).json()
        refused = stack.api.delete(f"{function}/versions/v1")

        assert (changed.status_code, stale.status_code) == (200, 412)
        assert (second, pinned.status_code, refused.status_code) == ("v2", 201, 409)
        assert (by_default["body"], by_default["executedVersion"]) == ('"one"', "v1")
        assert by_default["statusCode"] == 200
        assert by_default["billedDuration"] % 100 == 0
        assert {"executionTime", "memoryUsed", "logStreamName", "requestId"} <= set(by_default)
