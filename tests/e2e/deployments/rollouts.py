"""Deployments through the API, and what must be true of each one when it is over."""

import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from hotswap.supervisor.install import ROOT
from tests.e2e.ledger import source
from tests.e2e.stack import PYTHON_RUNTIME, Stack

TERMINAL = {"succeeded", "rolled-back", "superseded", "failed", "cancelled"}
WEB_SECONDS = 60.0
PATIENCE = 120.0
"""Seconds for one phase on a busy machine."""

Document = dict[str, Any]


class Rollout:
    """One deployment."""

    def __init__(self, stack: Stack, document: Document) -> None:
        self.stack = stack
        self.id: str = document["id"]
        self.path = f"/api/v1/deployments/{self.id}"

    def document(self) -> Document:
        """As the API shows it now; waits for the web where a test has killed it."""
        deadline = time.monotonic() + WEB_SECONDS
        while True:
            try:
                answer = self.stack.api.get(self.path)
            except httpx2.TransportError:
                assert time.monotonic() < deadline, "the API does not come back"
                time.sleep(0.2)
            else:
                found: Document = answer.raise_for_status().json()
                return found

    @property
    def phase(self) -> str:
        return str(self.document()["phase"])

    def until(self, *phases: str, within: float = PATIENCE) -> Document:
        """Wait until it is in one of these phases; breaks off when it ended otherwise."""
        wanted = phases or tuple(TERMINAL)
        deadline = time.monotonic() + within
        while (now := self.document())["phase"] not in wanted:
            story = f"{now['phase']}: {now['reason']}"
            assert now["phase"] not in TERMINAL, f"wanted {wanted}, it is {story}"
            assert time.monotonic() < deadline, f"not {wanted} in {within} s: {story}"
            time.sleep(0.05)
        return now

    def at_weight(self, weight: int, within: float = PATIENCE) -> Document:
        """Wait until so many basis points are observed."""
        deadline = time.monotonic() + within
        while True:
            now = self.document()
            if now["phase"] == "observing" and now["weight"] == weight:
                return now
            assert now["phase"] not in TERMINAL, now["reason"]
            assert time.monotonic() < deadline, f"{now['phase']} at {now['weight']}"
            time.sleep(0.05)

    def give(self, command: str, reason: str = "for the test", status: int = 200) -> Document:
        """Ask for something; the answer."""
        answer = self.stack.api.post(f"{self.path}/{command}", json={"reason": reason})
        assert answer.status_code == status, answer.text
        found: Document = answer.json()
        return found

    def events(self) -> list[Document]:
        """What happened, oldest first."""
        events: list[Document] = []
        url = f"{self.path}/events?order=at&limit=100"
        while url:
            page = self.stack.api.get(url).raise_for_status().json()
            events += page["items"]
            url = page.get("next") or ""
        return events

    def phases(self) -> list[str]:
        """Phases in order, each as often as it was entered."""
        return [e["toPhase"] for e in self.events() if e["kind"] in ("created", "phase")]

    def ended(self, phase: str, *, serves: str, within: float = PATIENCE) -> Document:
        """Wait for the end and check what holds of every end: the alias leads to `serves`, the
        gateway divides nothing any more, the history is whole, the receipt closes with it."""
        last = self.until(phase, within=within)
        function, alias = last["functionName"], last["alias"]
        assert served(self.stack, function, alias) == {serves: 10_000}
        check_chain(self.events())
        receipt = last["receipt"]
        if phase in ("succeeded", "rolled-back", "superseded"):
            assert receipt["route"] == {"version": serves, "weight": 10_000}
            newest = [e for e in self.events() if e["attempt"] == last["attempt"]][-1]
            assert receipt["lastEvent"] == newest["sha256"]
            for line in receipt["versions"].values():
                assert line["sent"] == line["answered"] + line["dropped"]
        answer = self.stack.invoke(function, {"id": 0}, alias=alias)
        assert "x-hotswap-rollout" not in answer.headers
        return last


def served(stack: Stack, function: str, alias: str = "production") -> Mapping[str, int]:
    """Version -> basis points, as the alias itself says."""
    answer = stack.api.get(f"/api/v1/functions/{function}/aliases/{alias}").raise_for_status()
    found = answer.json()
    return {item["version"]: item["weight"] for item in found["versions"]}


def check_chain(events: list[Document]) -> None:
    """Recompute every event's hash from what the API shows, per attempt."""
    previous: dict[int, Document] = {}
    for event in events:
        before = previous.get(event["attempt"])
        assert event["seq"] == (before["seq"] + 1 if before else 1)
        assert event["previousSha256"] == (before["sha256"] if before else "")
        assert event["sha256"] == _sha256(event)
        previous[event["attempt"]] = event


def _sha256(event: Document) -> str:
    content = [
        event["attemptId"].replace("-", ""), event["seq"],
        datetime.fromisoformat(event["at"]).astimezone(UTC).isoformat(),
        event["actor"], event["kind"], event["fromPhase"], event["toPhase"], event["reason"],
        event["detail"], event["previousSha256"],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def function(
    stack: Stack, name: str, versions: Mapping[int, str] | int = 2, **settings: Any
) -> None:
    """A function whose production alias serves v1, and further versions of it.

    Args:
        versions: how many, or number -> statements that a version's handler runs beside.
    """
    wanted = dict.fromkeys(range(1, versions + 1), "") if isinstance(versions, int) else versions
    body = {"name": name, "runtime": PYTHON_RUNTIME, "handler": "app.handler"}
    body |= {
        "memorySize": 128,
        "maxInstances": 2,
        "files": source(1, beside=wanted.get(1, "")),
        **settings,
    }
    stack.api.post("/api/v1/functions", json=body).raise_for_status()
    for number in sorted(set(wanted) - {1}):
        files = source(number, beside=wanted[number])
        made = stack.api.post(f"/api/v1/functions/{name}/versions", json={"files": files})
        assert made.status_code == 201, made.text
    first = start(stack, name, "v1", "AllAtOnce")
    first.until("succeeded")


def start(
    stack: Stack,
    name: str,
    version: str,
    strategy: str,
    *,
    alias: str = "production",
    status: int = 201,
    **config: Any,
) -> Rollout:
    """Ask for a deployment."""
    body = {"functionName": name, "version": version, "strategy": strategy, "alias": alias}
    body |= {"config": config}
    answer = stack.api.post("/api/v1/deployments", json=body)
    assert answer.status_code == status, answer.text
    return Rollout(stack, answer.json())


def person(stack: Stack, name: str) -> httpx2.Client:
    """A client of another user, who may do everything."""
    password = secrets.token_urlsafe(16)
    subprocess.run(
        [sys.executable, "manage.py", "createsuperuser", "--noinput", "--username", name],
        cwd=ROOT,
        env={**environment_of(stack.pids()["web"]), "DJANGO_SUPERUSER_PASSWORD": password}
        | {"DJANGO_SUPERUSER_EMAIL": f"{name}@example.org"},
        check=True,
        capture_output=True,
    )
    who = {"username": name, "password": password}
    answer = stack.api.post("/api/v1/auth/token", json=who).raise_for_status()
    client = stack.client(stack.url)
    client.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
    return client


def environment_of(pid: int) -> dict[str, str]:
    """What a process was told."""
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)
