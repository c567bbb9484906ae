"""Runners and invocations in the admin: to be looked at, in few queries."""

from collections.abc import Callable

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.integration.runners.reporting import Deployed, Intake, heartbeat, invoked


class TestTheAdmin:
    def test_lists_invocations_in_as_many_queries_however_many(
        self, admin_client: Client, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        queries = []
        for seq in (1, 2):
            version = deployed(f"thumbs-{seq}").versions[0]
            intake.calls(seq, records=[invoked(version, f"r{seq}{n}") for n in range(20)])
            with CaptureQueriesContext(connection) as captured:
                answer = admin_client.get("/admin/runners/invocationrecord/")
            queries.append(len(captured))

        assert answer.status_code == 200
        assert b"thumbs-1" in answer.content
        assert b"thumbs-2" in answer.content
        assert queries[0] == queries[1]

    def test_shows_runners_but_changes_nothing(self, intake: Intake, admin_client: Client) -> None:
        intake.post("heartbeat", heartbeat())

        assert b"node-1" in admin_client.get("/admin/runners/runnernode/").content
        assert admin_client.get("/admin/runners/runnernode/add/").status_code == 403
