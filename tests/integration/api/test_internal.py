"""The table feed and the artifacts, over HTTP as gateways and runners ask."""

import asyncio

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from hotswap.core import clock
from hotswap.records.models import TableReader
from hotswap.wire.table import Feed
from tests import zips
from tests.integration.control import bearer, create, deployed, internal, token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def api():
    return bearer(token())


@pytest.fixture(autouse=True)
async def nothing_left_open(transactional_db):
    """Async views query on another thread, whose connection the test client leaves open."""
    yield
    await sync_to_async(connections.close_all)()


def ask(**query):
    question = {"role": "gateway", "node": "n1", "after": 0, "wait": 0, **query}
    return AsyncClient().get("/internal/v1/table", question, headers=internal())


def decoded(response) -> Feed:
    assert response.status_code == 200, response.content
    return msgspec.json.decode(response.content, type=Feed)


class TestTable:
    async def test_answers_at_once_when_there_is_news(self, api):
        await sync_to_async(create)(api)

        feed = decoded(await ask(wait=20))

        assert (feed.full, feed.schema) == (True, 1)
        assert "function/thumbs" in {entry.key for entry in feed.entries}

    async def test_takes_the_question_as_an_acknowledgement(self, api):
        await sync_to_async(create)(api)
        revision = decoded(await ask()).revision

        feed = decoded(await ask(after=revision))

        reader = await TableReader.objects.aget()
        assert (feed.entries, feed.revision) == ([], revision)
        assert (reader.role, reader.node, reader.acked_revision) == ("gateway", "n1", revision)

    async def test_wakes_up_for_a_change(self, api):
        await sync_to_async(create)(api)
        revision = decoded(await ask()).revision
        pending = asyncio.create_task(ask(after=revision, wait=20))
        waiting = TableReader.objects.filter(acked_revision=revision)
        async with asyncio.timeout(10):
            while not await waiting.aexists():
                await asyncio.sleep(0.01)
        started = clock.monotonic()

        await sync_to_async(api.patch)("/api/v1/functions/thumbs", {"maxQueue": 9})
        feed = decoded(await pending)

        assert [entry.key for entry in feed.entries] == ["function/thumbs"]
        assert clock.monotonic() - started < 5

    async def test_waits_no_longer_than_asked(self, api):
        await sync_to_async(create)(api)
        revision = decoded(await ask()).revision
        started = clock.monotonic()

        feed = decoded(await ask(after=revision, wait=0.3))

        assert (feed.revision, feed.entries) == (revision, [])
        assert 0.25 < clock.monotonic() - started < 3

    @pytest.mark.parametrize(
        "query",
        [{"role": "admin"}, {"node": ""}, {"node": "x" * 129}, {"after": -1}, {"after": "x"}],
        ids=str,
    )
    async def test_refuses_odd_questions(self, api, query):
        assert (await ask(**query)).status_code == 400

    @pytest.mark.parametrize("header", ["", "Bearer x", "Basic x", "Bearer"])
    async def test_needs_the_internal_token(self, header):
        response = await AsyncClient().get("/internal/v1/table", headers={"Authorization": header})

        assert response.status_code == 401

    async def test_notes_who_listens_without_taking_connections(self, api):
        await sync_to_async(create)(api)
        revision = decoded(await ask()).revision

        await asyncio.gather(*(ask(node=f"many-{n}", after=revision, wait=1) for n in range(40)))

        assert await TableReader.objects.acount() == 41  # the 40, and n1 of the first question


class TestArtifacts:
    async def test_are_the_very_bytes(self, api):
        await sync_to_async(deployed)(api)
        version = await sync_to_async(api.get)("/api/v1/functions/thumbs/versions/v1")
        sha256 = version.json()["codeSha256"]

        response = await AsyncClient().get(f"/internal/v1/artifacts/{sha256}", headers=internal())

        body = b"".join([chunk async for chunk in response.streaming_content])
        assert (body, int(response["Content-Length"])) == (zips.packed(), len(body))

    @pytest.mark.parametrize("sha256", ["0" * 64, "..", "x"])
    async def test_are_not_found_by_another_name(self, api, sha256):
        response = await AsyncClient().get(f"/internal/v1/artifacts/{sha256}", headers=internal())

        assert response.status_code == 404
