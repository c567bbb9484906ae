"""What callers get."""

import pytest

from hotswap.core.errors import Throttled, Unauthenticated
from runners.gateway.answers import Outcome, problem, raw_headers


def outcome(**facts: object) -> Outcome:
    made = Outcome()
    for name, value in facts.items():
        setattr(made, name, value)
    return made


class TestOutcome:
    @pytest.mark.parametrize(
        ("duration_us", "billed_ms"), [(1, 100), (100_000, 100), (100_001, 200), (145_000, 200)]
    )
    def test_is_billed_in_steps_of_100_ms(self, duration_us: int, billed_ms: int) -> None:
        assert outcome(duration_us=duration_us).billed_ms == billed_ms


class TestRawHeaders:
    @pytest.mark.parametrize(
        "name",
        ["set-cookie", "clear-site-data", "access-control-allow-origin", "content-length",
         "transfer-encoding", "connection", "content-security-policy", "x-hotswap-start",
         "strict-transport-security", "x-bad\r\nset-cookie"],
    )  # fmt: skip
    def test_leave_out_what_could_act_on_the_portal(self, name: str) -> None:
        made = raw_headers(outcome(headers={name: "value"}))

        assert b"value" not in made

    @pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "\x00", "\x7f", "日本", 7])
    def test_leave_out_values_that_are_not_one_plain_line(self, value: object) -> None:
        assert raw_headers(outcome(headers={"x-a": value})) == raw_headers(outcome())

    def test_keep_what_is_harmless(self) -> None:
        made = raw_headers(outcome(type="text/html", headers={"etag": '"1"', "x-a": "b"}))

        assert b'Content-Type: text/html\r\netag: "1"\r\nx-a: b\r\n' in made


class TestProblem:
    def test_says_when_to_come_back(self) -> None:
        _, headers, _ = problem(Throttled("full", retryAfter=3), "id")

        assert b"Retry-After: 3\r\n" in headers

    def test_says_how_to_authenticate(self) -> None:
        status, headers, _ = problem(Unauthenticated("no token"), "id")

        assert (status, b"WWW-Authenticate: Bearer" in headers) == (401, True)
