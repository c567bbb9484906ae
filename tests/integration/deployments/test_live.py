"""A deployment as its watchers see it by websocket: every change, no more than two a second."""

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from deployments.consumers import deployment_socket
from deployments.models import Deployment
from deployments.states import Command, Phase
from hotswap.access import visits
from tests.integration.deployments.world import World
from tests.integration.runners.reporting import token
from tests.integration.visits import Visit, bearer

pytestmark = pytest.mark.django_db(transaction=True)

Watch = Callable[..., Awaitable[Visit]]


def in_thread(action: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """As services are called: outside the loop."""
    return sync_to_async(action)


@pytest.fixture
def watch() -> Watch:
    """Opens a visit with a token of these scopes."""

    async def open_(deployment: Deployment | str, *scopes: str) -> Visit:
        shown = await in_thread(token)(*(scopes or ("deployments:read",)))
        wanted = deployment if isinstance(deployment, str) else str(deployment.id)
        return Visit(deployment_socket, bearer(shown), id=wanted)

    return open_


def asked() -> tuple[World, Deployment]:
    world = World()
    return world, world.deploy(1)


class TestAWatcher:
    async def test_is_told_at_once_where_the_deployment_stands(self, watch: Watch) -> None:
        _, deployment = await in_thread(asked)()

        visit = await watch(deployment)
        state = await visit.said("state")
        await visit.leave()

        assert state["deployment"] == str(deployment.id)
        assert (state["phase"], state["attempt"], state["weight"]) == ("preparing", 1, 0)
        assert not state["isOver"]

    async def test_is_told_every_phase_that_lasts(self, watch: Watch) -> None:
        world, deployment = await in_thread(asked)()
        visit = await watch(deployment)
        await visit.said("state")

        await in_thread(world.until)(deployment, Phase.SUCCEEDED)

        versions = []
        while not (state := await visit.said("state"))["isOver"]:
            versions.append(state["rowVersion"])
        await visit.leave()
        assert state["phase"] == "succeeded"
        assert versions == sorted(set(versions))

    async def test_is_told_of_new_evidence(self, watch: Watch) -> None:
        world = await in_thread(World)()
        deployment = await in_thread(world.observing)()
        visit = await watch(deployment)
        before = await visit.said("state")

        await in_thread(world.serve)(deployment, v1=(90, 0), v2=(10, 0))

        while (state := await visit.said("state"))["calls"] == before["calls"]:
            pass
        await visit.leave()
        assert state["calls"] == before["calls"] + 100

    async def test_hears_nothing_while_nothing_changes(self, watch: Watch) -> None:
        _, deployment = await in_thread(asked)()
        visit = await watch(deployment)
        await visit.said("state")

        assert await visit.heard_nothing("state", seconds=2.5)
        await visit.leave()

    async def test_hears_at_most_twice_a_second(self, watch: Watch) -> None:
        world = await in_thread(World)()
        deployment = await in_thread(world.observing)()
        visit = await watch(deployment)
        await visit.said("state")

        started, heard = time.monotonic(), 0
        for calls in range(1, 31):
            await in_thread(world.serve)(deployment, v2=(calls, 0))
        spent = time.monotonic() - started
        while not await visit.heard_nothing("state", seconds=1.5):
            heard += 1
        await visit.leave()

        assert 1 <= heard <= 2 * spent + 2

    async def test_comes_back_to_the_whole_state(self, watch: Watch) -> None:
        world = await in_thread(World)()
        deployment = await in_thread(world.observing)()
        first = await watch(deployment)
        await first.said("state")
        await first.leave()

        await in_thread(world.give)(deployment, Command.PAUSE, reason="lunch")
        second = await watch(deployment)
        state = await second.said("state")
        await second.leave()

        assert (state["phase"], state["heldReason"]) == ("held", "manual")

    async def test_notices_changes_without_hints(
        self, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, deployment = await in_thread(asked)()
        monkeypatch.setattr("hotswap.access.hints.get_channel_layer", lambda: None)
        visit = await watch(deployment)
        await visit.said("state")

        started = time.monotonic()
        await in_thread(world.give)(deployment, Command.ABORT, reason="changed my mind")
        state = await visit.said("state")
        await visit.leave()

        assert state["isOver"]
        assert time.monotonic() - started < 5


class TestTheDoor:
    async def test_is_shut_without_the_scope(self, watch: Watch) -> None:
        _, deployment = await in_thread(asked)()

        visit = await watch(deployment, "functions:read")

        problem = await visit.said("problem")
        closed = await visit.said("websocket.close")
        assert (problem["problem"]["status"], closed["code"]) == (403, 4403)

    @pytest.mark.parametrize("name", [str(uuid.UUID(int=7)), "no-id"])
    async def test_is_shut_where_there_is_no_deployment(self, watch: Watch, name: str) -> None:
        visit = await watch(name)

        closed = await visit.said("websocket.close")

        assert closed["code"] == 4404

    async def test_is_shut_to_who_shows_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(visits, "TOKEN_SECONDS", 0.05)

        closed = await Visit(deployment_socket, id=str(uuid.UUID(int=7))).said("websocket.close")

        assert closed["code"] == 4401
