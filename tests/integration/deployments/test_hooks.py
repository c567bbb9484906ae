"""Hooks: what is called when, how it is signed, and what becomes of the answers."""

import hashlib
import hmac
import json
import threading
from datetime import timedelta
from http.server import HTTPServer
from pathlib import Path

import pytest

from deployments.models import Attempt, Effect, Event
from deployments.rules import HookKind
from deployments.services import effects, hooks
from deployments.states import Phase
from hotswap.core import clock
from tests.integration.control import client
from tests.integration.deployments.receiver import Receiver, Reply
from tests.integration.deployments.rows import attempt, deployment

PRODUCTION = "/api/v1/environments/production"


@pytest.fixture
def api(db):
    return client()


@pytest.fixture
def receiver():
    with Receiver() as server:
        yield server


@pytest.fixture
def running(db):
    return attempt(deployment())


def configure(api, url, *kinds, **limits):
    listed = [{"kind": kind, "url": url, **limits} for kind in kinds]
    assert api.put(PRODUCTION, {"hooks": listed}).status_code == 200


def want(of, kind="confirm-promotion", gate="hook:confirm-promotion"):
    return hooks.want(attempt=of, kind=kind, gate=gate, now=clock.utc_now())


def answer(of, gate="hook:confirm-promotion"):
    return hooks.answer_of(attempt=of, gate=gate)


def make_due():
    """As if the time to the next try had passed."""
    Effect.objects.update(due_at=clock.utc_now() - timedelta(seconds=1))


class TestC80Payload:
    @pytest.mark.parametrize("kind", list(HookKind))
    def test_says_what_is_going_on(self, api, receiver, running, kind):
        configure(api, f"{receiver.url}/hook", kind)

        assert want(running, kind) == 1
        effects.deliver_due()

        (request,) = receiver.requests
        body = json.loads(request.body)
        assert (request.method, request.path) == ("POST", "/hook")
        assert request.headers["Content-Type"] == "application/json"
        assert body["event"] == kind
        assert (body["function"], body["alias"]) == ("thumbs", "production")
        assert body["deployment"] == str(running.deployment_id)
        assert body["versions"] == {"stable": "v1", "candidate": "v2"}
        assert (body["phase"], body["weight"], body["attempt"]) == ("observing", 1_000, 1)
        assert body["verdict"] == {}

    def test_is_for_hooks_of_its_kind_only(self, api, receiver, running):
        configure(api, receiver.url, "pre-rollout")

        assert want(running) == 0
        effects.deliver_due()

        assert (receiver.requests, answer(running)) == ([], "none")


class TestC80Signature:
    def test_is_the_hmac_of_time_and_body_under_the_secret_that_writers_are_shown(
        self, api, receiver, running
    ):
        configure(api, receiver.url, "confirm-promotion")
        secret = api.get(f"{PRODUCTION}/hook-secret").json()["secret"]

        want(running)
        effects.deliver_due()

        (request,) = receiver.requests
        parts = dict(part.split("=") for part in request.headers["X-HotSwap-Signature"].split(","))
        signed = f"{parts['t']}.".encode() + request.body
        assert parts["v1"] == hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        assert abs(int(parts["t"]) - clock.epoch_ms() / 1_000) < 30

    def test_changes_with_a_new_secret(self, api):
        old = api.get(f"{PRODUCTION}/hook-secret").json()["secret"]

        new = api.post(f"{PRODUCTION}/hook-secret").json()["secret"]

        assert new != old
        assert api.get(f"{PRODUCTION}/hook-secret").json()["secret"] == new
        assert api.get("/api/v1/environments/staging/hook-secret").json()["secret"] != new

    def test_has_a_secret_that_readers_are_not_shown(self, api):
        reader = client("deployments:read", username="bob")

        assert reader.get(f"{PRODUCTION}/hook-secret").status_code == 403


class TestReceiverOfTheDocumentation:
    """The program that docs/hooks.md shows, run as it stands there."""

    @pytest.fixture
    def gate(self, monkeypatch, api):
        secret = api.get(f"{PRODUCTION}/hook-secret").json()["secret"]
        monkeypatch.setenv("HOOK_SECRET", secret)
        page = (Path(__file__).parents[3] / "docs" / "hooks.md").read_text()
        code = page.partition("```python\n")[2].partition("```")[0]
        program, _, last_line = code.rstrip().rpartition("\n")
        assert last_line.startswith("HTTPServer(")
        names = {}
        exec(program, names)
        server = HTTPServer(("127.0.0.1", 0), names["Gate"])
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()

    def test_says_yes_to_our_calls(self, api, gate, running):
        configure(api, gate, "confirm-promotion")

        want(running)
        effects.deliver_due()

        assert answer(running) == "ok"

    def test_says_no_to_a_call_that_somebody_else_signed(self, api, gate, running):
        api.post(f"{PRODUCTION}/hook-secret")
        configure(api, gate, "confirm-promotion")

        want(running)
        effects.deliver_due()

        assert answer(running) == "refused"


class TestC80Answers:
    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (200, "ok"),
            (204, "ok"),
            (302, "refused"),
            (400, "refused"),
            (403, "refused"),
            (404, "refused"),
            (408, "pending"),
            (429, "pending"),
            (500, "pending"),
            (503, "pending"),
        ],
    )
    def test_follow_from_the_status(self, api, receiver, running, status, said):
        configure(api, receiver.url, "confirm-promotion")
        receiver.reply = Reply(status, b"because")

        want(running)
        assert answer(running) == "pending"
        effects.deliver_due()

        assert answer(running) == said
        assert Effect.objects.get().answer == f"{status} because".replace("204 because", "204")

    def test_are_recorded_once_with_what_was_said(self, api, receiver, running):
        configure(api, f"{receiver.url}/secret-path", "confirm-promotion")
        receiver.reply = Reply(403, b"not on a\x00 Friday")

        want(running)
        effects.deliver_due()
        make_due()
        effects.deliver_due()

        event = Event.objects.get(attempt=running, kind="hook.answered")
        assert event.reason == "confirm-promotion: refused"
        assert event.detail["answer"] == "403 not on a Friday"
        assert "secret-path" not in str(event.detail)
        assert len(receiver.requests) == 1

    def test_wake_the_machine_that_waits_for_them(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion")
        Attempt.objects.update(due_at=clock.utc_now() + timedelta(hours=1))

        want(running)
        effects.deliver_due()

        assert Attempt.objects.get().due_at <= clock.utc_now()

    def test_of_one_no_outweigh_every_yes(self, api, receiver, running):
        receiver.reply = lambda request: Reply(403 if request.path == "/no" else 200)
        listed = [
            {"kind": "confirm-promotion", "url": f"{receiver.url}/{word}"}
            for word in ("yes", "no", "also")
        ]
        api.put(PRODUCTION, {"hooks": listed})

        want(running)
        effects.deliver_due()

        assert answer(running) == "refused"

    def test_that_are_huge_are_not_read_whole(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion")
        receiver.reply = Reply(200, b"x" * 10_000_000)

        want(running)
        effects.deliver_due()

        assert answer(running) == "ok"
        assert len(Effect.objects.get().answer) < 1_000


class TestRetries:
    def test_repeat_after_a_fault_with_the_same_key_until_it_works(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion")
        replies = iter([Reply(500), Reply(503), Reply(200)])
        receiver.reply = lambda _: next(replies)

        want(running)
        for _ in range(5):
            effects.deliver_due()
            make_due()

        assert answer(running) == "ok"
        assert len(receiver.requests) == 3
        assert len({request.headers["X-HotSwap-Delivery"] for request in receiver.requests}) == 1
        assert len({request.body for request in receiver.requests}) == 1
        assert Event.objects.filter(kind="hook.answered").count() == 1

    def test_wait_longer_each_time(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion", deadlineSeconds=3_600)
        receiver.reply = Reply(500)
        want(running)

        waits = []
        for _ in range(4):
            effects.deliver_due()
            waits.append((Effect.objects.get().due_at - clock.utc_now()).total_seconds())
            make_due()

        assert waits == sorted(waits)
        assert waits[0] < 1.1
        assert waits[-1] > 5

    def test_are_not_made_before_they_are_due(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion")
        receiver.reply = Reply(500)

        want(running)
        effects.deliver_due()
        effects.deliver_due()

        assert len(receiver.requests) == 1

    def test_survive_a_server_that_is_not_there(self, api, running):
        with Receiver() as gone:
            url = gone.url
        configure(api, url, "confirm-promotion")

        want(running)
        effects.deliver_due()

        assert answer(running) == "pending"
        assert "ConnectError" in Effect.objects.get().answer

    def test_give_up_at_the_deadline_and_say_late(self, api, receiver, running):
        """P29: a hook that never answers has a deadline."""
        configure(api, receiver.url, "confirm-promotion", deadlineSeconds=5)
        receiver.reply = Reply(500)
        want(running)
        Effect.objects.update(deadline_at=clock.utc_now())

        effects.deliver_due()

        assert answer(running) == "late"
        assert Event.objects.get(kind="hook.answered").reason == "confirm-promotion: late"

    def test_end_a_try_that_takes_too_long(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion", timeoutSeconds=1)
        receiver.reply = Reply(200, delay=3)

        want(running)
        effects.deliver_due()

        assert answer(running) == "pending"
        assert Effect.objects.get().answer == "No answer within 1 s."

    def test_of_a_worker_that_died_are_made_by_another_after_its_lease(
        self, api, receiver, running
    ):
        configure(api, receiver.url, "confirm-promotion")
        want(running)
        effects._claim_due()  # and nothing more: the worker is gone

        effects.deliver_due()
        assert receiver.requests == []
        make_due()
        effects.deliver_due()

        assert (answer(running), len(receiver.requests)) == ("ok", 1)

    def test_ignore_an_answer_that_comes_after_the_final_one(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion")
        want(running)
        (slow,) = effects._claim_due()
        make_due()
        effects.deliver_due()

        effects._keep(slow, effects._Outcome(Effect.State.REFUSED, "403"))

        assert answer(running) == "ok"
        assert Event.objects.filter(kind="hook.answered").count() == 1


class TestWishes:
    def test_are_written_once_however_often_they_are_wanted(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion")

        want(running)
        want(running)

        assert Effect.objects.count() == 1

    def test_are_new_in_each_step_and_attempt(self, api, receiver, running):
        configure(api, receiver.url, "confirm-traffic-increase")
        want(running, "confirm-traffic-increase", "gate")
        running.step_index = 1
        want(running, "confirm-traffic-increase", "gate")
        Attempt.objects.update(phase=Phase.ROLLED_BACK, finished_at=clock.utc_now())
        want(attempt(running.deployment), "confirm-traffic-increase", "gate")

        assert Effect.objects.count() == 3

    def test_of_events_are_new_in_each_phase(self, api, receiver, running):
        configure(api, receiver.url, "event")
        want(running, "event", "")
        running.phase, running.phase_since = Phase.HELD, clock.utc_now()
        want(running, "event", "")
        want(running, "event", "")

        assert Effect.objects.count() == 2


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://0.0.0.0/",
            "http://2852039166/",
        ],
    )
    def test_of_metadata_services_are_never_connected_to(self, api, running, url):
        """Also where the refusal at the rule's door was passed: by a name, or an old row."""
        effects.effect_want(
            attempt=running,
            kind="hook.rollout",
            target=url,
            occasion="",
            payload={"timeoutSeconds": 2, "body": {}},
            now=clock.utc_now(),
            deadline_seconds=60,
        )

        effects.deliver_due()

        effect = Effect.objects.get()
        assert effect.state == Effect.State.REFUSED
        assert "leads to" in effect.answer

    def test_of_this_machine_are_allowed_by_name(self, api, receiver, running):
        configure(api, receiver.url.replace("127.0.0.1", "localhost"), "confirm-promotion")

        want(running)
        effects.deliver_due()

        assert answer(running) == "ok"
        assert receiver.requests[0].headers["Host"].startswith("localhost:")

    def test_that_a_redirect_names_are_not_followed(self, api, receiver, running):
        configure(api, receiver.url, "confirm-promotion")
        receiver.reply = Reply(302, headers={"Location": f"{receiver.url}/elsewhere"})

        want(running)
        effects.deliver_due()

        assert (answer(running), len(receiver.requests)) == ("refused", 1)
