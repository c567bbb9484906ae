"""A visit to a log in slow motion: the tests set the pace of its heartbeat."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from hotswap.access import visits
from runners.consumers import log_socket
from tests.integration.runners.reporting import deploy, token
from tests.integration.visits import Visit, bearer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart that beats all the time."""
    monkeypatch.setattr(visits, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(visits, "POLL_SECONDS", 0.05)


async def _visit() -> Visit:
    await sync_to_async(deploy)("thumbs")
    shown = await sync_to_async(token)("invocations:read")
    return _open(bearer(shown))


def _open(*headers: tuple[bytes, bytes]) -> Visit:
    return Visit(log_socket, *headers, query=b"after=0", name="thumbs")


class TestAVisit:
    async def test_hears_the_servers_time(self) -> None:
        visit = await _visit()

        beats = [await visit.said("heartbeat") for _ in range(2)]
        await visit.leave()

        assert beats[0]["time"] < beats[1]["time"]
        assert beats[0]["cursor"] == 0

    async def test_ends_when_its_user_is_disabled(self) -> None:
        visit = await _visit()
        await visit.said("heartbeat")

        await get_user_model().objects.filter(username="ada").aupdate(is_active=False)

        problem = await visit.said("problem")
        closed = await visit.said("websocket.close")
        assert (problem["problem"]["status"], closed["code"]) == (401, 4401)

    async def test_ends_by_itself_when_nobody_shows_a_token(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(visits, "TOKEN_SECONDS", 0.05)

        closed = await _open().said("websocket.close")

        assert closed["code"] == 4401

    async def test_leaves_no_task_behind(self) -> None:
        before = len(asyncio.all_tasks())
        visit = await _visit()
        await visit.said("ready")

        await visit.leave()

        assert len(asyncio.all_tasks()) == before
