"""Old telemetry goes; what is young stays, and numbers are never given out twice."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from hotswap.core import clock
from runners.models import InvocationMinute, InvocationRecord, LogLine, RunnerNode
from runners.services import retention
from runners.tasks import telemetry_purge
from tests.integration.runners.reporting import Deployed, Intake, counts, heartbeat, invoked, line

DAY_MS = 86_400_000


class TestRetention:
    def test_keeps_what_is_young(
        self, intake: Intake, api: APIClient, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]
        now = clock.epoch_ms()
        minute = now // 60_000
        intake.logs(1, [line(version, text) for text in ("old", "older", "young")])
        LogLine.objects.exclude(text="young").update(time_ms=now - 8 * DAY_MS)
        intake.calls(
            1,
            [counts(version, minute=minute), counts(version, minute=minute - 31 * 1_440)],
            [invoked(version, "young"), invoked(version, "old", ended_ms=now - 31 * DAY_MS)],
        )
        intake.post("heartbeat", heartbeat(node="gone"))
        RunnerNode.objects.update(seen_at=clock.utc_now() - timedelta(hours=25))
        intake.post("heartbeat", heartbeat(node="here"))

        telemetry_purge.delay()

        assert LogLine.objects.get().text == "young"
        assert InvocationRecord.objects.get().request_id == "young"
        assert InvocationMinute.objects.get().minute == minute
        assert RunnerNode.objects.get().name == "here"

    def test_goes_on_numbering_and_paging_where_lines_are_gone(
        self, intake: Intake, api: APIClient, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]
        intake.logs(1, [line(version)] * 5)

        deleted = retention.log_lines_delete(before=clock.utc_now() + timedelta(minutes=5))
        intake.logs(2, [line(version, "next")])
        page = api.get("/api/v1/functions/thumbs/logs?after=0").json()

        assert deleted == 5
        assert [item["seq"] for item in page["items"]] == [6]
        assert page["atStart"]

    def test_deletes_in_batches(
        self,
        intake: Intake,
        deployed: Callable[..., Deployed],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(retention, "BATCH", 3)
        intake.logs(1, [line(deployed("thumbs").versions[0])] * 10)

        assert retention.log_lines_delete(before=clock.utc_now() + timedelta(minutes=5)) == 10
