"""External metrics: read from servers that answer as the real ones do, right or wrong.

`RECORDED` are answers of Prometheus 3 as its HTTP API documents them; the server that sends
them is real, the Prometheus behind it is not.
"""

import json
from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from deployments.models import Attempt, SourceReading
from deployments.services import sources
from deployments.sources.metrics import sources_checked
from deployments.states import Phase
from hotswap.core import clock
from hotswap.core.errors import InvalidInput
from hotswap.wire.reports import InstanceState
from tests.integration.control import client
from tests.integration.deployments.receiver import Receiver, Reply
from tests.integration.deployments.rows import attempt, deployment
from tests.integration.runners.reporting import Intake, heartbeat

PROMQL = {"name": "errors", "type": "promql", "query": "e", "threshold": 0.05}
HTTP = {"name": "orders", "type": "http", "jsonPath": "$.data[0].value", "threshold": 10}


def vector(*values):
    result = [{"metric": {"job": "shop"}, "value": [1_700_000_000.1, value]} for value in values]
    return success("vector", result)


def success(kind, result):
    document = {"status": "success", "data": {"resultType": kind, "result": result}}
    return Reply(200, json.dumps(document).encode(), headers={"Content-Type": "application/json"})


RECORDED_BAD = {
    "empty vector": vector(),
    "two series": vector("1", "2"),
    "NaN": vector("NaN"),
    "+Inf": vector("+Inf"),
    "-Inf": vector("-Inf"),
    "no number": vector("many"),
    "a number as number": success("vector", [{"metric": {}, "value": [1, 2]}]),
    "matrix": success("matrix", []),
    "string": success("string", [1_700_000_000, "1"]),
    "null": success("vector", None),
    "error": Reply(422, b'{"status":"error","errorType":"execution","error":"bad query"}'),
    "busy": Reply(503, b'{"status":"error","error":"overloaded"}'),
    "success with a bad status": Reply(500, vector("0").body),
    "no JSON": Reply(200, b"<html>"),
    "a list": Reply(200, b"[]"),
    "nothing": Reply(200, b""),
}


@pytest.fixture
def server():
    with Receiver() as receiver:
        yield receiver


def running(*metrics, phase=Phase.OBSERVING):
    return attempt(deployment(config={"metrics": list(metrics)}), phase)


def poll(times=1):
    for _ in range(times):
        SourceReading.objects.update(due_at=clock.utc_now() - timedelta(seconds=1))
        sources.poll_due()


def standing(of, *, after=0.0):
    now = clock.utc_now() + timedelta(seconds=after)
    return sources.standing(attempt=of, now=now)


@pytest.mark.usefixtures("db")
class TestPromql:
    def test_asks_an_instant_query_with_the_versions_filled_in(self, server):
        server.reply = vector("0.01")
        query = 'errors{app="{{function}}",v="{{candidate}}",was="{{stable}}"}'
        of = running({**PROMQL, "url": f"{server.url}/prom/", "query": query})

        poll()

        (request,) = server.requests
        assert request.path == "/prom/api/v1/query"
        asked = parse_qs(request.body.decode())["query"]
        assert asked == ['errors{app="thumbs",v="v2",was="v1"}']
        assert standing(of).state == "ok"
        assert SourceReading.objects.get().value == 0.01

    def test_takes_a_scalar_too(self, server):
        server.reply = success("scalar", [1_700_000_000.1, "3"])
        running({**PROMQL, "url": server.url})

        poll()

        assert SourceReading.objects.get().value == 3

    @pytest.mark.parametrize("reply", RECORDED_BAD.values(), ids=RECORDED_BAD)
    def test_c44_anything_but_one_finite_number_is_an_error_that_holds(self, server, reply):
        server.reply = reply
        of = running({**PROMQL, "url": server.url})

        poll(5)

        reading = SourceReading.objects.get()
        assert (reading.value, reading.is_breached, reading.breaches) == (None, False, 0)
        assert reading.error
        assert standing(of).state == "stale"


@pytest.mark.usefixtures("db")
class TestHttp:
    def test_follows_the_path_to_a_number(self, server):
        server.reply = Reply(200, b'{"data": [{"value": 7}]}')
        of = running({**HTTP, "url": f"{server.url}/{{{{function}}}}/{{{{candidate}}}}"})

        poll()

        assert server.requests[0].path == "/thumbs/v2"
        assert SourceReading.objects.get().value == 7
        assert standing(of).state == "ok"

    @pytest.mark.parametrize(
        "body",
        [
            b'{"data": []}',
            b'{"data": {"0": {"value": 7}}}',
            b'{"data": [{"value": "7"}]}',
            b'{"data": [{"value": true}]}',
            b'{"data": [{"value": null}]}',
            b'{"data": [{"value": NaN}]}',
            b'{"data": [{"value": 1e999}]}',
            b'{"data": [{"value": [7]}]}',
            b"{",
            b"[" * 100_000,
            b" " * 100_000 + b'{"data": [{"value": 7}]}',
        ],
        ids=lambda body: body[:30].decode(),
    )
    def test_c44_anything_but_a_number_there_is_an_error_that_holds(self, server, body):
        server.reply = Reply(200, body)
        of = running({**HTTP, "url": server.url})

        poll(5)

        assert SourceReading.objects.get().value is None
        assert standing(of).state == "stale"

    @pytest.mark.parametrize("status", [204, 301, 404, 500])
    def test_wants_a_200(self, server, status):
        server.reply = Reply(status, b'{"data": [{"value": 7}]}')
        of = running({**HTTP, "url": server.url})

        poll()

        assert standing(of).state == "stale"


@pytest.mark.usefixtures("db")
class TestDecisions:
    def test_a_source_that_is_down_holds_and_never_decides(self):
        """P5: a metric provider that is down is no failure of the candidate."""
        with Receiver() as gone:
            url = gone.url
        of = running({**PROMQL, "url": url})

        poll(10)

        assert standing(of).state == "stale"
        assert "errors: ConnectError" in standing(of).sentence

    def test_a_source_that_does_not_answer_in_time_holds(self, server):
        server.reply = Reply(200, vector("0").body, delay=6)
        of = running({**PROMQL, "url": server.url})

        poll()

        assert standing(of).sentence == "errors: No answer within 4 s."

    def test_a_guardrail_fails_after_three_breaches_in_a_row(self, server):
        server.reply = vector("0.06")
        of = running({**PROMQL, "url": server.url})

        states = []
        for _ in range(3):
            poll()
            states.append(standing(of).state)

        assert states == ["waiting", "waiting", "breached"]
        assert standing(of).sentence == "errors is 0.06, > 0.05, 3 times in a row."

    def test_c41_a_good_reading_begins_the_count_anew(self, server):
        values = iter(["1", "1", "0.01", "1", "1"])
        server.reply = lambda _: vector(next(values))
        of = running({**PROMQL, "url": server.url})

        poll(5)

        assert standing(of).state == "waiting"

    def test_an_error_after_breaches_holds_and_the_next_breach_decides(self, server):
        of = running({**PROMQL, "url": server.url})
        server.reply = vector("1")
        poll(2)
        server.reply = Reply(500)
        poll()
        assert standing(of).state == "stale"

        server.reply = vector("1")
        poll()

        assert standing(of).state == "breached"

    def test_a_signal_holds_until_it_recovers_and_never_fails(self, server):
        of = running({**PROMQL, "url": server.url, "role": "signal"})
        server.reply = vector("1")
        poll(5)
        assert standing(of).state == "signal"

        server.reply = vector("0")
        poll()

        assert standing(of).state == "ok"

    def test_the_worst_source_counts(self, server):
        server.reply = lambda request: vector("1" if b"bad" in request.body else "0")
        of = running(
            {**PROMQL, "name": "good", "url": server.url},
            {**PROMQL, "name": "bad", "url": server.url, "query": "bad"},
            {**HTTP, "url": server.url},
        )

        poll(3)

        assert standing(of).state == "breached"
        assert standing(of).sentence.startswith("bad is 1")

    @pytest.mark.parametrize(
        ("comparison", "value", "state"),
        [(">", "5", "ok"), (">=", "5", "waiting"), ("<", "5", "ok"), ("<=", "5", "waiting")],
    )
    def test_a_breach_is_what_the_comparison_says(self, server, comparison, value, state):
        server.reply = vector(value)
        of = running({**PROMQL, "url": server.url, "threshold": 5, "comparison": comparison})

        poll()

        assert standing(of).state == state

    def test_nothing_passes_before_the_first_reading(self, server):
        of = running({**PROMQL, "url": server.url})

        assert standing(of).state == "waiting"

    def test_readings_that_stop_coming_hold(self, server):
        server.reply = vector("0")
        of = running({**PROMQL, "url": server.url})
        poll()

        assert standing(of, after=10).state == "ok"
        assert standing(of, after=21).state == "stale"

    def test_without_sources_nothing_waits(self):
        assert standing(attempt(deployment())).state == "ok"


@pytest.mark.usefixtures("db")
class TestRhythm:
    def test_each_source_is_asked_every_five_seconds(self, server):
        server.reply = vector("0")
        running({**PROMQL, "url": server.url})

        sources.poll_due()
        sources.poll_due()

        assert len(server.requests) == 1
        wait = SourceReading.objects.get().due_at - clock.utc_now()
        assert 4 < wait.total_seconds() <= 5

    @pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.SUCCEEDED, Phase.ROLLED_BACK])
    def test_nobody_is_asked_while_there_is_no_traffic(self, server, phase):
        running({**PROMQL, "url": server.url}, phase=phase)

        assert sources.poll_due() == 0
        assert server.requests == []

    def test_a_change_wakes_the_machine(self, server):
        server.reply = vector("1")
        of = running({**PROMQL, "url": server.url})
        Attempt.objects.update(due_at=clock.utc_now() + timedelta(hours=1))

        poll()

        of.refresh_from_db()
        assert of.due_at <= clock.utc_now()

    def test_a_slow_source_delays_nobody_else_s_reading(self, server):
        server.reply = lambda request: (
            Reply(200, vector("0").body, delay=6) if b"slow" in request.body else vector("0")
        )
        of = running(
            {**PROMQL, "name": "slow", "url": server.url, "query": "slow"},
            {**PROMQL, "name": "fast", "url": server.url},
        )

        poll()

        slow, fast = sources.readings(attempt=of, now=clock.utc_now())
        assert (slow.state, fast.state) == ("stale", "ok")
        assert (slow.at - fast.at).total_seconds() > 3


@pytest.mark.usefixtures("db")
class TestRunners:
    def test_memory_is_the_most_of_the_candidate_s_instances(self):
        metric = {"name": "memory", "type": "runner", "metric": "memory", "threshold": 100}
        of = running(metric)
        stable, candidate = of.deployment.from_version_id, of.deployment.to_version_id
        instances = [(stable, 900), (candidate, 80), (candidate, 120)]
        Intake().post(
            "heartbeat",
            heartbeat(
                instances=[
                    InstanceState(f"i{number}", version, "idle", 0, 1, mib * 1024)
                    for number, (version, mib) in enumerate(instances)
                ]
            ),
        )  # fmt: skip

        poll(3)

        assert SourceReading.objects.get().value == 120
        assert standing(of).state == "breached"

    def test_cpu_is_the_most_of_those_that_were_measured(self):
        of = running({"name": "cpu", "type": "runner", "metric": "cpu", "threshold": 90})
        candidate = of.deployment.to_version_id
        instances = [
            InstanceState(f"i{n}", candidate, "busy", 0, 1, 1_024, percent)
            for n, percent in enumerate((None, 12.5, 97.0))
        ]
        Intake().post("heartbeat", heartbeat(instances=instances))

        poll(3)

        assert SourceReading.objects.get().value == 97
        assert standing(of).state == "breached"

    @pytest.mark.parametrize("metric", ["cpu", "memory"])
    def test_holds_while_no_runner_reports_an_instance(self, metric):
        of = running({"name": "m", "type": "runner", "metric": metric, "threshold": 1})

        poll()

        wanted = f"m: No runner reports the {metric} of an instance of v2."
        assert standing(of).sentence == wanted


class TestSettings:
    @pytest.mark.parametrize(
        "fields",
        [
            {"name": ""},
            {"name": "a b"},
            {"type": "graphite"},
            {"url": "gopher://x"},
            {"url": None},
            {"query": ""},
            {"query": 5},
            {"threshold": "5"},
            {"threshold": float("nan")},
            {"threshold": True},
            {"comparison": "=="},
            {"role": "boss"},
            {"interval": 1},
        ],
        ids=str,
    )
    def test_are_refused_by_the_member_s_name(self, fields):
        source = {**PROMQL, "url": "http://prometheus:9090", **fields}

        with pytest.raises(InvalidInput, match=f"metrics.0.{next(iter(fields))}"):
            sources_checked({"metrics": [source]})

    @pytest.mark.parametrize("path", ["", "data", "$..a", "$[*]", "$.a[-1]", "$[?(@.x)]", "$.a b"])
    def test_refuse_paths_that_could_mean_many_places(self, path):
        with pytest.raises(InvalidInput, match="jsonPath"):
            sources_checked({"metrics": [{**HTTP, "url": "http://x", "jsonPath": path}]})

    def test_refuse_two_of_one_name_and_eleven(self):
        source = {**PROMQL, "url": "http://prometheus:9090"}

        with pytest.raises(InvalidInput, match="a name of its own"):
            sources_checked({"metrics": [source, source]})
        with pytest.raises(InvalidInput, match="at most 10"):
            sources_checked({"metrics": [{**source, "name": f"m{n}"} for n in range(11)]})


@pytest.mark.usefixtures("db")
class TestApi:
    def test_shows_every_source_with_its_reading(self, server):
        server.reply = vector("0.01")
        of = running({**PROMQL, "url": server.url})
        poll()

        (item,) = client().get(f"/api/v1/deployments/{of.deployment_id}/readings").json()["items"]

        assert (item["name"], item["type"], item["role"]) == ("errors", "promql", "guardrail")
        assert (item["value"], item["state"]) == (0.01, "ok")
        assert item["sentence"] == "errors is 0.01, within its limit."
