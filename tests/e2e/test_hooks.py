"""Hooks over the whole platform: a deployment's story reaches a receiver, signed."""

import hashlib
import hmac
import json

import pytest

from tests.e2e.stack import Stack
from tests.integration.deployments.receiver import Receiver

SOURCE = "def handler(event, context):\n    return 1\n"
STAGE = "/api/v1/environments/hooked"

pytestmark = pytest.mark.slow


class TestHooks:
    def test_are_called_by_the_worker_of_their_own(self, stack: Stack) -> None:
        assert "worker-outside" in stack.pids()
        stack.deploy("hooked", {"app.py": SOURCE})
        secret = stack.api.get(f"{STAGE}/hook-secret").json()["secret"]

        with Receiver() as receiver:
            hook = {"kind": "event", "url": receiver.url}
            assert stack.api.put(STAGE, json={"hooks": [hook]}).status_code == 200
            wish = {"functionName": "hooked", "version": "v1", "alias": "hooked"}
            made = stack.api.post("/api/v1/deployments", json={**wish, "strategy": "AllAtOnce"})
            assert made.status_code == 201, made.text
            stack.wait(lambda: "succeeded" in told(receiver), 60)

            assert {"preparing", "promoting", "settling", "succeeded"} <= set(told(receiver))
            for request in receiver.requests:
                parts = request.headers["X-HotSwap-Signature"].split(",")
                said = dict(part.split("=") for part in parts)
                signed = f"{said['t']}.".encode() + request.body
                wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
                assert said["v1"] == wanted


def told(receiver: Receiver) -> list[str]:
    """Phases in the order of the calls."""
    return [json.loads(request.body)["phase"] for request in receiver.requests]
