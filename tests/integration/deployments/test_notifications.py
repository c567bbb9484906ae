"""Notifications by webhook, chat and e-mail, to real servers."""

import json
from email import message_from_string
from email.policy import default as modern

import pytest

from deployments.models import Effect
from deployments.rules import Notice
from deployments.services import effects, notifications
from deployments.states import Phase
from hotswap.core import clock
from tests.integration.control import client
from tests.integration.deployments.mail_server import MailServer
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
    return attempt(deployment(), reason="Too many errors.")


@pytest.fixture
def mail(settings):
    with MailServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_USE_TLS = False
        yield server


def configure(api, kind, target, **fields):
    return api.put(PRODUCTION, {"notify": [{"kind": kind, "target": target, **fields}]})


def tell(of, event="rolled-back"):
    wanted = notifications.want(attempt=of, event=event, now=clock.utc_now())
    effects.deliver_due()
    return wanted


class TestWebhook:
    def test_gets_the_facts_and_a_sentence_for_people(self, api, receiver, running):
        configure(api, "webhook", receiver.url)

        assert tell(running) == 1

        body = json.loads(receiver.requests[0].body)
        assert body["event"] == "rolled-back"
        assert body["text"] == ("thumbs, production, v1 to v2 was rolled back. Too many errors.")
        assert body["link"].endswith(f"/deployments/{running.deployment_id}")
        assert body["function"] == "thumbs"
        assert receiver.requests[0].headers["X-HotSwap-Signature"].startswith("t=")

    @pytest.mark.parametrize("event", list(Notice))
    def test_is_told_of_every_event(self, api, receiver, running, event):
        configure(api, "webhook", receiver.url)

        tell(running, event)

        assert json.loads(receiver.requests[0].body)["event"] == event

    def test_is_told_of_the_chosen_events_only(self, api, receiver, running):
        configure(api, "webhook", receiver.url, events=["held", "failed"])

        assert tell(running, "started") == 0
        assert tell(running, "failed") == 1
        assert len(receiver.requests) == 1

    def test_is_told_once(self, api, receiver, running):
        configure(api, "webhook", receiver.url)

        tell(running)
        tell(running)

        assert len(receiver.requests) == 1

    def test_is_told_again_when_it_happens_again(self, api, receiver, running):
        configure(api, "webhook", receiver.url)
        tell(running, "held")
        running.phase, running.phase_since = Phase.HELD, clock.utc_now()

        tell(running, "held")

        assert len(receiver.requests) == 2

    def test_that_fails_keeps_nobody_else_from_being_told(self, api, receiver, running):
        receiver.reply = lambda request: Reply(500 if request.path == "/bad" else 200)
        listed = [
            {"kind": "webhook", "target": f"{receiver.url}/{path}"} for path in ("bad", "good")
        ]
        api.put(PRODUCTION, {"notify": listed})

        tell(running)

        states = dict(Effect.objects.values_list("target", "state"))
        assert states == {f"{receiver.url}/bad": "pending", f"{receiver.url}/good": "done"}


class TestSlack:
    def test_gets_one_text(self, api, receiver, running):
        configure(api, "slack", receiver.url)

        tell(running)

        body = json.loads(receiver.requests[0].body)
        assert set(body) == {"text"}
        assert "was rolled back. Too many errors." in body["text"]


class TestEmail:
    def test_reaches_the_address(self, api, mail, running):
        assert configure(api, "email", "team@example.org").status_code == 200

        tell(running)

        ((recipient, text),) = mail.messages
        message = message_from_string(text, policy=modern)
        assert recipient == message["To"] == "team@example.org"
        assert message["From"] == "hotswap@localhost"
        assert message["Subject"] == (
            "[HotSwap] thumbs, production, v1 to v2 was rolled back. Too many errors."
        )
        assert f"/deployments/{running.deployment_id}" in message.get_content()
        assert Effect.objects.get().state == "done"

    def test_is_tried_again_when_the_server_cannot_take_it(self, api, mail, running):
        configure(api, "email", "team@example.org")
        mail.refusing = True
        tell(running)
        assert Effect.objects.get().state == "pending"

        mail.refusing = False
        Effect.objects.update(due_at=clock.utc_now())
        effects.deliver_due()

        assert (Effect.objects.get().state, len(mail.messages)) == ("done", 1)

    def test_is_refused_where_no_mail_server_is_named(self, api, settings):
        settings.EMAIL_HOST = ""

        response = configure(api, "email", "team@example.org")

        assert response.status_code == 422
        assert "HOTSWAP_EMAIL_HOST" in response.json()["detail"]

    @pytest.mark.parametrize("address", ["", "team", "a@b\nBcc: c@d", "a@b, c@d", "<a@b>"])
    def test_is_refused_to_what_is_no_address(self, api, mail, address):
        assert configure(api, "email", address).status_code == 422

    def test_subject_holds_no_line_break_of_a_reason(self, api, mail, running):
        configure(api, "email", "team@example.org")
        running.reason = "first\nBcc: second@example.org"

        tell(running)

        assert "Bcc" not in dict(message_from_string(mail.messages[0][1]).items())
