"""What gateways and runners get to know, and when."""

import threading

import msgspec
import pytest
from django.db import connection, transaction

from functions.models import Function
from hotswap import publisher
from hotswap.access import signing
from hotswap.core import clock
from hotswap.records import table
from hotswap.records.models import OutboxEvent, RoutingEntry, RoutingRevision
from hotswap.records.services import routing_mark_dirty
from hotswap.wire.table import FunctionRoute, KeyRoute, TokenRoute
from runners.link.feed import Table
from tests.integration.control import bearer, create, deployed, point, token, upload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def api():
    return bearer(token())


class Follower:
    """A gateway or runner's copy of the table; every answer is checked as they check it."""

    def __init__(self, role="gateway"):
        self.role = role
        self.table = Table()

    def follow(self):
        feed = table.feed_read(role=self.role, after=self.table.revision)
        self.table = self.table.changed_by(feed)
        return feed

    def route(self, key, kind):
        return msgspec.json.decode(bytes(self.table.entries[key].body), type=kind)


class TestPublication:
    def test_shows_a_change_as_soon_as_it_is_answered(self, api):
        deployed(api, versions=2, environment={"SECRET": "s"}, reservedConcurrency=3)
        point(api, "production", v1=1, v2=9_999)
        gateway = Follower()

        gateway.follow()

        route = gateway.route("function/thumbs", FunctionRoute)
        assert (route.latest, [v.number for v in route.versions]) == (2, [1, 2])
        assert route.aliases == {"production": ((1, 1), (2, 9_999))}
        assert (route.reserved_concurrency, route.idle_timeout_ms) == (3, 300_000)

    def test_shows_the_environment_to_runners_only(self, api):
        deployed(api, environment={"SECRET": "hunter2"})
        gateway, runner = Follower("gateway"), Follower("runner")
        gateway.follow()
        runner.follow()

        environments = [
            follower.route("function/thumbs", FunctionRoute).versions[0].environment
            for follower in (gateway, runner)
        ]
        assert environments == [{}, {"SECRET": "hunter2"}]
        assert b"hunter2" not in bytes(RoutingEntry.objects.get(key="function/thumbs").gateway_body)

    def test_shows_tokens_and_keys_to_gateways_only(self, api):
        create(api)
        publisher.sweep(now=clock.utc_now())
        gateway, runner = Follower("gateway"), Follower("runner")
        gateway.follow()
        runner.follow()

        kinds = {key.partition("/")[0] for key in gateway.table.entries}
        assert kinds == {"function", "token", "key"}
        assert {key.partition("/")[0] for key in runner.table.entries} == {"function"}

    def test_sends_one_entry_for_one_change(self, api):
        for name in ("a", "b", "c"):
            create(api, name=name)
        gateway = Follower()
        gateway.follow()

        api.patch("/api/v1/functions/b", {"maxQueue": 7})

        feed = gateway.follow()
        assert ([entry.key for entry in feed.entries], feed.full) == (["function/b"], False)

    def test_says_nothing_when_nothing_changed(self, api):
        create(api)
        before = table.current_revision()

        api.patch("/api/v1/functions/thumbs", {"description": "only words"})

        assert table.current_revision() == before
        assert not OutboxEvent.objects.exists()

    def test_takes_a_deleted_function_away_and_a_restored_one_back(self, api):
        deployed(api)
        gateway = Follower()
        gateway.follow()

        api.delete("/api/v1/functions/thumbs")
        gateway.follow()
        gone = "function/thumbs" not in gateway.table.entries
        api.post("/api/v1/functions/thumbs/restore")
        gateway.follow()

        assert gone
        assert gateway.route("function/thumbs", FunctionRoute).latest == 1

    def test_publishes_nothing_of_what_was_rolled_back(self, api):
        before = table.current_revision()

        with transaction.atomic():
            routing_mark_dirty(keys=["function/ghost"], at=clock.utc_now())
            transaction.set_rollback(True)

        assert (table.current_revision(), OutboxEvent.objects.count()) == (before, 0)

    def test_keeps_the_digest_right_through_many_changes(self, api):
        gateways = {role: Follower(role) for role in ("gateway", "runner")}
        for n in range(12):
            create(api, name=f"f{n % 5}")
            upload(api, f"f{n % 5}")
            if n % 3 == 2:
                api.delete(f"/api/v1/functions/f{n % 5}")
            for follower in gateways.values():
                follower.follow()  # raises when entries and digest do not belong together

        fresh = Follower()
        fresh.follow()
        assert fresh.table.entries == gateways["gateway"].table.entries

    def test_gives_the_whole_table_to_whoever_comes_from_elsewhere(self, api):
        create(api)

        feeds = [table.feed_read(role="gateway", after=after) for after in (0, 10**9)]
        assert [feed.full for feed in feeds] == [True, True]


class TestConcurrentWriters:
    def test_give_revisions_that_rise_without_gaps(self, api):
        for n in range(6):
            create(api, name=f"f{n}")
        plain = token(username="grace")

        def change(n):
            caller = bearer(plain)
            for step in range(5):
                changed = caller.patch(f"/api/v1/functions/f{n}", {"maxQueue": step})
                assert changed.status_code == 200
            connection.close()

        gateway, stop = Follower(), threading.Event()

        def watch():
            while not stop.is_set():
                gateway.follow()
            gateway.follow()
            connection.close()

        watcher = threading.Thread(target=watch)
        writers = [threading.Thread(target=change, args=(n,)) for n in range(6)]
        for thread in (watcher, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        watcher.join()

        numbers = sorted(RoutingRevision.objects.values_list("number", flat=True))
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert {gateway.route(f"function/f{n}", FunctionRoute).max_queue for n in range(6)} == {4}


class TestSweep:
    def test_publishes_what_a_dead_process_left(self, api):
        create(api)
        before = table.current_revision()
        Function.objects.update(max_queue=5)
        OutboxEvent.objects.create(kind="routing", key="function/thumbs", at=clock.utc_now())

        assert publisher.sweep(now=clock.utc_now()) == before + 1
        assert not OutboxEvent.objects.exists()

    def test_mends_what_is_missing_or_left_over(self, api):
        create(api)
        create(api, name="other")
        publisher.sweep(now=clock.utc_now())
        RoutingEntry.objects.filter(key="function/thumbs").update(key="function/ghost")

        publisher.sweep(now=clock.utc_now())

        live = RoutingEntry.objects.filter(is_deleted=False, key__startswith="function/")
        assert set(live.values_list("key", flat=True)) == {"function/thumbs", "function/other"}

    def test_takes_tokens_of_disabled_users_away(self, api, django_user_model):
        publisher.sweep(now=clock.utc_now())
        gateway = Follower()
        gateway.follow()
        [key] = [key for key in gateway.table.entries if key.startswith("token/")]
        assert gateway.route(key, TokenRoute).user == "ada"

        django_user_model.objects.update(is_active=False)
        publisher.sweep(now=clock.utc_now())
        gateway.follow()

        assert key not in gateway.table.entries

    def test_announces_the_signing_key(self):
        publisher.sweep(now=clock.utc_now())
        gateway = Follower()
        gateway.follow()

        route = gateway.route(f"key/{signing.key_id()}", KeyRoute)
        assert (route.algorithm, route.public_pem) == ("EdDSA", signing.public_pem())


class TestPurge:
    def test_forgets_old_steps_and_still_serves_everybody(self, api):
        gateway = Follower()
        create(api, name="doomed")
        gateway.follow()
        api.delete("/api/v1/functions/doomed")
        create(api)

        table.table_purge(before=clock.utc_now())

        assert RoutingRevision.objects.count() == 1
        assert not RoutingEntry.objects.filter(is_deleted=True).exists()
        assert gateway.follow().full
        assert "function/doomed" not in gateway.table.entries


class TestWait:
    def acked(self, revision, role="gateway"):
        table.reader_seen(role=role, node="n1", acked_revision=revision, now=clock.utc_now())

    def test_ends_at_once_without_gateways(self, api):
        create(api)

        assert table.wait_acked(seconds=0)

    def test_ends_when_the_last_reader_has_it(self, api):
        create(api)
        self.acked(table.current_revision())

        assert table.wait_acked(seconds=0)

    @pytest.mark.parametrize("role", ["gateway", "runner"])
    def test_gives_up_on_a_slow_reader_in_bounded_time(self, api, role):
        create(api)
        self.acked(table.current_revision() - 1, role)
        started = clock.monotonic()

        assert not table.wait_acked(seconds=0.05)
        assert clock.monotonic() - started < 1

    def test_does_not_wait_for_the_dead(self, api):
        create(api)
        long_ago = clock.utc_now() - table.READER_ALIVE
        table.reader_seen(role="gateway", node="n1", acked_revision=0, now=long_ago)

        assert table.wait_acked(seconds=0)
