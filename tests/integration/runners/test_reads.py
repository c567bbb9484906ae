"""What the API says about calls, logs, figures and runners."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from hotswap.core import clock
from hotswap.records import table
from hotswap.wire.reports import InstanceState
from runners.models import RunnerNode
from runners.selectors import nodes
from runners.selectors.metrics import percentile
from tests.integration.runners.reporting import (
    Deployed,
    Intake,
    counts,
    heartbeat,
    invoked,
    line,
    reader,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = int(START.timestamp()) // 60


class TestInvocations:
    def test_come_newest_first_in_pages(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]
        now = clock.epoch_ms()
        intake.calls(1, records=[invoked(version, f"r{n}", ended_ms=now + n) for n in range(5)])

        first = api.get("/api/v1/functions/thumbs/invocations?limit=3").json()
        second = api.get(first["next"]).json()

        assert [item["id"] for item in first["items"]] == ["r4", "r3", "r2"]
        assert [item["id"] for item in second["items"]] == ["r1", "r0"]
        assert second["next"] is None

    def test_of_one_millisecond_are_neither_lost_nor_repeated(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]
        intake.calls(1, records=[invoked(version, f"r{n}", ended_ms=10**12) for n in range(25)])

        found: list[str] = []
        address = "/api/v1/functions/thumbs/invocations?limit=4"
        while address:
            page = api.get(address).json()
            found += [item["id"] for item in page["items"]]
            address = page["next"]

        assert found == [f"r{n}" for n in reversed(range(25))]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            pytest.param("status=failed", ["bad"], id="failed"),
            pytest.param("status=succeeded", ["cold", "second", "plain"], id="succeeded"),
            pytest.param("outcome=throttled", [], id="other outcome"),
            pytest.param("outcome=function-raised", ["bad"], id="outcome"),
            pytest.param("version=v2", ["second"], id="version"),
            pytest.param("alias=beta", ["second"], id="alias"),
            pytest.param("cold=true", ["cold"], id="cold"),
            pytest.param("cold=false", ["bad", "second", "plain"], id="warm"),
            pytest.param("search=se", ["second"], id="search"),
            pytest.param("to=2026-03-01T12:00:01Z", ["plain"], id="to"),
            pytest.param("from=2026-03-01T12:00:02Z", ["cold", "bad"], id="from"),
            pytest.param("status=failed&version=v2", [], id="both"),
        ],
    )
    def test_can_be_filtered(
        self,
        api: APIClient,
        intake: Intake,
        deployed: Callable[..., Deployed],
        query: str,
        found: list[str],
    ) -> None:
        one, two = deployed("thumbs", 2).versions
        at = int(START.timestamp() * 1000)
        intake.calls(
            1,
            records=[
                invoked(one, "plain", ended_ms=at),
                invoked(two, "second", alias="beta", ended_ms=at + 1_000),
                invoked(one, "bad", outcome="function-raised", status=502, ended_ms=at + 2_000),
                invoked(one, "cold", cold=True, ended_ms=at + 3_000),
            ],
        )

        answer = api.get(f"/api/v1/functions/thumbs/invocations?{query}")

        assert [item["id"] for item in answer.json()["items"]] == found

    def test_tell_everything_about_one_call(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs", 2).versions[1]
        error = {"errorType": "ValueError", "errorMessage": "no", "stackTrace": ["line 1"]}
        call = invoked(
            version, "r1", outcome="function-raised", status=502, init_us=3_000, cold=True,
            error=error, ended_ms=int(START.timestamp() * 1000),
        )  # fmt: skip
        intake.calls(1, records=[call])

        answer = api.get("/api/v1/functions/thumbs/invocations/r1")

        assert answer.json() == {
            "id": "r1", "version": "v2", "alias": "live", "user": "ada",
            "endedAt": "2026-03-01T12:00:00Z", "outcome": "function-raised", "status": 502,
            "coldStart": True, "totalMs": 6.0, "queueMs": 0.5, "initMs": 3.0, "runMs": 5.0,
            "billedMs": 5, "memoryUsedMib": 20.0, "requestBytes": 10, "responseBytes": 20,
            "instance": "i1", "traceId": "t1", "error": error,
        }  # fmt: skip

    def test_give_their_own_lines_also_without_a_record(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]
        intake.logs(1, [line(version, text, request_id=text[0]) for text in ("a1", "b1", "a2")])

        answer = api.get("/api/v1/functions/thumbs/invocations/a/logs")

        assert [item["text"] for item in answer.json()["items"]] == ["a1", "a2"]
        assert api.get("/api/v1/functions/thumbs/invocations/c/logs").status_code == 404

    def test_of_another_function_are_not_found(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        deployed("thumbs")
        intake.calls(1, records=[invoked(deployed("other").versions[0], "r1")])

        assert api.get("/api/v1/functions/thumbs/invocations/r1").status_code == 404
        assert api.get("/api/v1/functions/other/invocations/r1").status_code == 200

    def test_cost_the_same_queries_however_many(
        self,
        api: APIClient,
        intake: Intake,
        deployed: Callable[..., Deployed],
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        versions = deployed("thumbs", 10).versions
        intake.calls(1, records=[invoked(versions[n % 10], f"r{n}") for n in range(100)])
        address = "/api/v1/functions/thumbs/invocations?limit="
        with CaptureQueriesContext(connection) as few:
            api.get(f"{address}1")

        with django_assert_num_queries(len(few)):
            api.get(f"{address}100")


class TestLogs:
    @pytest.fixture
    def printed(self, intake: Intake, deployed: Callable[..., Deployed]) -> None:
        one, two = deployed("thumbs", 2).versions
        levels = ("INFO", "ERROR", "PLATFORM")
        intake.logs(
            1,
            [
                line(two if n == 30 else one, f"line {n} Of", level=levels[n % 3])
                for n in range(1, 31)
            ],
        )

    @pytest.mark.parametrize(
        ("query", "seqs", "bounds"),
        [
            pytest.param("limit=3", [28, 29, 30], (28, 30, False, True), id="newest"),
            pytest.param("after=0&limit=2", [1, 2], (1, 2, True, False), id="oldest"),
            pytest.param("after=28", [29, 30], (29, 30, False, True), id="after"),
            pytest.param("after=30", [], (31, 30, False, True), id="nothing new"),
            pytest.param("after=99", [], (31, 30, False, True), id="from the future"),
            pytest.param("before=4&limit=2", [2, 3], (2, 3, False, False), id="before"),
            pytest.param("before=3", [1, 2], (1, 2, True, False), id="beginning"),
            pytest.param("level=error&limit=2", [25, 28], (25, 30, False, True), id="level"),
            pytest.param("level=ERROR,info&after=27", [28, 30], (28, 30, False, True), id="levels"),
            pytest.param("q=LINE 7 of", [7], (1, 30, True, True), id="text"),
            pytest.param("requestId=r2", [], (1, 30, True, True), id="request"),
        ],
    )
    @pytest.mark.usefixtures("printed")
    def test_are_read_by_number(
        self,
        api: APIClient,
        query: str,
        seqs: list[int],
        bounds: tuple[int, int, bool, bool],
    ) -> None:
        page = api.get(f"/api/v1/functions/thumbs/logs?{query}").json()

        assert [item["seq"] for item in page["items"]] == seqs
        assert (page["first"], page["last"], page["atStart"], page["atEnd"]) == bounds

    @pytest.mark.usefixtures("printed")
    def test_say_where_each_line_came_from(self, api: APIClient) -> None:
        page = api.get("/api/v1/functions/thumbs/logs?limit=1").json()

        (item,) = page["items"]
        assert item.pop("time").endswith("Z")
        assert item == {
            "seq": 30, "level": "INFO", "requestId": "r1", "version": "v2", "instance": "i1",
            "text": "line 30 Of",
        }  # fmt: skip

    @pytest.mark.parametrize("query", ["after=1&before=2", "level=LOUD", "limit=0", "after=-1"])
    @pytest.mark.usefixtures("printed")
    def test_refuse_a_senseless_question(self, api: APIClient, query: str) -> None:
        assert api.get(f"/api/v1/functions/thumbs/logs?{query}").status_code == 422

    def test_are_empty_before_the_first_line(
        self, api: APIClient, deployed: Callable[..., Deployed]
    ) -> None:
        deployed("thumbs")

        page = api.get("/api/v1/functions/thumbs/logs").json()

        assert (page["items"], page["atStart"], page["atEnd"]) == ([], True, True)


class TestMetrics:
    def test_add_up_by_version_and_in_total(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        one, two = deployed("thumbs", 2).versions
        intake.calls(
            1,
            [
                counts(one, minute=MINUTE),
                counts(one, minute=MINUTE + 1),
                counts(two, minute=MINUTE + 5, outcomes={"ok": 5, "throttled": 5}),
                counts(two, minute=MINUTE + 10),
            ],
        )

        found = api.get(
            "/api/v1/functions/thumbs/metrics",
            {"from": START.isoformat(), "to": "2026-03-01T12:10:00Z", "step": 300},
        ).json()

        assert found["times"] == ["2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z"]
        assert [series["version"] for series in found["versions"]] == ["v1", "v2"]
        total = found["total"]
        assert [point["invocations"] for point in total["points"]] == [20, 10]
        assert [point["errors"] for point in total["points"]] == [2, 5]
        assert [point["coldStarts"] for point in total["points"]] == [4, 2]
        assert total["summary"]["outcomes"] == {"function-raised": 2, "ok": 23, "throttled": 5}
        assert (total["summary"]["averageMs"], total["summary"]["averageInitMs"]) == (6.0, 4.0)
        assert total["summary"]["p50Ms"] == 6.25
        assert found["versions"][1]["points"][0]["p50Ms"] is None

    def test_of_one_version_leave_out_the_others(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        one, two = deployed("thumbs", 2).versions
        intake.calls(1, [counts(one, minute=MINUTE), counts(two, minute=MINUTE)])

        query = {"from": START.isoformat(), "to": "2026-03-01T13:00:00Z", "version": "v2"}
        found = api.get("/api/v1/functions/thumbs/metrics", query).json()

        assert [series["version"] for series in found["versions"]] == ["v2"]
        assert found["total"]["summary"]["invocations"] == 10

    @pytest.mark.parametrize("days", [1 / 24, 1, 7, 30, 400])
    def test_have_a_sensible_number_of_points(
        self, api: APIClient, deployed: Callable[..., Deployed], days: float
    ) -> None:
        deployed("thumbs")
        query = {"from": START.isoformat(), "to": (START + timedelta(days=days)).isoformat()}

        found = api.get("/api/v1/functions/thumbs/metrics", query).json()

        assert 50 <= len(found["times"]) <= 121
        assert len(found["total"]["points"]) == len(found["times"])

    @pytest.mark.parametrize(
        "query",
        [
            pytest.param({"step": 90}, id="half a minute"),
            pytest.param({"step": 60, "from": "2020-01-01T00:00:00Z"}, id="too many points"),
            pytest.param({"from": "2099-01-01T00:00:00Z"}, id="backwards"),
            pytest.param({"from": "yesterday"}, id="no date"),
        ],
    )
    def test_refuse_a_senseless_question(
        self, api: APIClient, deployed: Callable[..., Deployed], query: dict[str, str]
    ) -> None:
        deployed("thumbs")

        assert api.get("/api/v1/functions/thumbs/metrics", query).status_code == 422

    @pytest.mark.parametrize(
        ("share", "value"), [(0.0, 1.0), (0.5, 2.0), (0.75, 2.5), (1.0, 900_000.0)]
    )
    def test_percentiles_lie_inside_their_bucket(self, share: float, value: float) -> None:
        buckets = [0, 0, 2, 2, *[0] * 17, 0]
        if share == 1.0:
            buckets[-1] = 1

        assert percentile(buckets, share) == value


class TestRunners:
    def test_show_their_lastheartbeat(
        self, api: APIClient, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs", 3).versions[2]
        instance = InstanceState("i1", version, "busy", int(START.timestamp() * 1000), 7, 10_240)
        intake.post("heartbeat", heartbeat(instances=[instance], queued=9))

        answer = intake.post("heartbeat", heartbeat(instances=[instance]))
        (listed,) = api.get("/api/v1/runners").json()["items"]
        shown = api.get("/api/v1/runners/node-1").json()

        assert answer.status_code == 204
        assert (listed["state"], listed["instanceCount"], listed["queued"]) == ("online", 1, 0)
        assert shown["instances"] == [
            {
                "id": "i1", "function": "thumbs", "version": "v3", "state": "busy",
                "startedAt": "2026-03-01T12:00:00Z", "invocations": 7, "memoryMib": 10.0,
            }
        ]  # fmt: skip
        assert shown["stemCells"] == {"python3.11": 2}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            pytest.param({"enforced": []}, "isolates nothing", id="unisolated"),
            pytest.param({"memory_free_mib": 100}, "100 MiB", id="memory"),
            pytest.param({"runtimes": []}, "no runtime", id="no runtime"),
        ],
    )
    def test_say_what_is_wrong_with_them(
        self, api: APIClient, intake: Intake, changes: dict[str, object], reason: str
    ) -> None:
        intake.post("heartbeat", heartbeat(**changes))

        shown = api.get("/api/v1/runners/node-1").json()

        assert shown["state"] == "degraded"
        assert reason in shown["reasons"][0]

    def test_are_offline_after_ten_silent_seconds(self, api: APIClient, intake: Intake) -> None:
        intake.post("heartbeat", heartbeat())
        RunnerNode.objects.update(seen_at=clock.utc_now() - timedelta(seconds=11))

        shown = api.get("/api/v1/runners/node-1").json()

        assert (shown["state"], shown["reasons"]) == (
            "offline", ["It has not reported for 11 s."],
        )  # fmt: skip

    def test_tell_their_region(self, api: APIClient, intake: Intake) -> None:
        intake.post("heartbeat", heartbeat(region="north"))

        assert api.get("/api/v1/runners/node-1").json()["region"] == "north"

    def test_are_not_behind_when_their_last_report_was_before_a_burst(
        self, api: APIClient, intake: Intake
    ) -> None:
        revision = publish_revisions(3)
        intake.post("heartbeat", heartbeat(table_revision=revision - 3))
        behind = api.get("/api/v1/runners/node-1").json()["state"]

        table.reader_seen(
            role="runner", node="node-1", acked_revision=revision, now=clock.utc_now()
        )

        assert (behind, api.get("/api/v1/runners/node-1").json()["state"]) == ("degraded", "online")

    def test_for_rollouts_are_those_that_report_and_take_calls(
        self, intake: Intake, db: None
    ) -> None:
        found = [
            InstanceState(f"i{n}", version, state, 0, 0, 1_024)
            for n, (version, state) in enumerate(
                [(7, "idle"), (7, "frozen"), (8, "busy"), (8, "starting")]
            )
        ]
        for name, changes in {
            "node-b": {"region": "north", "instances": found, "failed_starts": {9: "No."}},
            "node-a": {},
            "leaving": {"is_draining": True},
            "silent": {},
        }.items():
            intake.post("heartbeat", heartbeat(node=name, **changes))
        now = clock.utc_now()
        RunnerNode.objects.filter(name="silent").update(seen_at=now - timedelta(seconds=11))

        first, second = nodes.runners_live(now=now)

        assert (first.name, first.region, first.ready, first.failed_starts) == (
            "node-a",
            "",
            {},
            {},
        )
        assert (second.name, second.region) == ("node-b", "north")
        assert second.ready == {7: 2, 8: 1}
        assert second.failed_starts == {9: "No."}
        assert second.instances_memory_mib == 4.0

    def test_keep_their_start_until_they_boot_again(self, intake: Intake, db: None) -> None:
        started = []
        for boot in ("b1", "b1", "b2"):
            intake.post("heartbeat", heartbeat(boot=boot))
            started.append(RunnerNode.objects.get().started_at)

        assert started[0] == started[1] < started[2]


def publish_revisions(count: int) -> int:
    """Write so many revisions of the table; the newest."""
    revision = 0
    for number in range(count):
        with transaction.atomic():
            revision = table.revision_write(
                rendered={f"test/{number}": table.Bodies(b"1", b"1")}, now=clock.utc_now()
            )
    return revision


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("functions/thumbs/invocations", "invocations:read"),
        ("functions/thumbs/logs", "invocations:read"),
        ("functions/thumbs/metrics", "functions:read"),
        ("runners", "runners:read"),
    ],
)
class TestAccess:
    def test_needs_its_own_scope(
        self, deployed: Callable[..., Deployed], address: str, scope: str
    ) -> None:
        deployed("thumbs")
        others = {"functions:read", "invocations:read", "runners:read"} - {scope}

        statuses = [
            client.get(f"/api/v1/{address}").status_code
            for client in (APIClient(), reader(*others), reader(scope))
        ]

        assert statuses == [401, 403, 200]

    def test_of_nothing_is_not_found(self, api: APIClient, address: str, scope: str) -> None:
        if address != "runners":
            assert api.get(f"/api/v1/{address}").status_code == 404
        else:
            assert api.get("/api/v1/runners/nobody").status_code == 404
