"""ISO-8601 durations."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments import durations
from hotswap.core.errors import InvalidInput

MONTH = timedelta(days=30)


def refusal(text: str) -> str:
    """Why this text is refused."""
    with pytest.raises(InvalidInput) as refused:
        durations.parse(text)
    return refused.value.detail


class TestParse:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("PT10M", 600),
            ("PT5M", 300),
            ("PT1H", 3_600),
            ("PT1H30M15S", 5_415),
            ("P1W", 604_800),
            ("P1D", 86_400),
            ("P1DT12H", 129_600),
            ("P1W2DT3H4M5S", 788_645),
            ("PT0S", 0),
            ("PT90M", 5_400),
            ("PT0.5S", 0.5),
            ("PT0,25S", 0.25),
            ("PT1.000001S", 1.000001),
            ("P30D", 2_592_000),
            ("PT2592000S", 2_592_000),
        ],
    )
    def test_reads_weeks_to_seconds(self, text: str, seconds: float) -> None:
        assert durations.parse(text) == timedelta(seconds=seconds)

    @pytest.mark.parametrize("text", ["P1Y", "P1M", "P1Y2M", "P3M1D", "P1YT1H", "P0.5Y", "P0M"])
    def test_refuses_years_and_months_because_their_length_is_not_fixed(self, text: str) -> None:
        assert "their length is not fixed" in refusal(text)

    @pytest.mark.parametrize("text", ["-PT5M", "PT-5M", "P-1D", "-P1Y"])
    def test_refuses_what_is_negative(self, text: str) -> None:
        assert "is negative" in refusal(text)

    @pytest.mark.parametrize("text", ["P31D", "P30DT0.000001S", "P5W", "PT721H", "P999999999W"])
    def test_refuses_more_than_30_days(self, text: str) -> None:
        assert "more than 30 days" in refusal(text)

    @pytest.mark.parametrize(
        "text",
        [
            *["", "P", "PT", "P1DT", "10m", "600", "PT10", "P10", "PT1M1H", "P1D1W", "pt10m"],
            *[" PT10M", "PT10M ", "PT10M\n", "P1H", "PT1D", "PT1.5M", "PT.5S", "PT1.S"],
            *["PT1.1234567S", "PT٣M", "PT1e3S", "T10M", "PT10MS", "x" * 10_000],
        ],
    )
    def test_refuses_what_is_no_duration(self, text: str) -> None:
        assert "is not an ISO-8601 duration" in refusal(text)
        assert len(refusal(text)) < 150

    @given(st.text(alphabet="PTWDHMSY0123456789.,-+ \n", max_size=30))
    def test_either_reads_or_refuses(self, text: str) -> None:
        try:
            duration = durations.parse(text)
        except InvalidInput:
            return
        assert timedelta(0) <= duration <= MONTH


class TestText:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "PT0S"),
            (0.5, "PT0.5S"),
            (1.25, "PT1.25S"),
            (60, "PT1M"),
            (90, "PT1M30S"),
            (600, "PT10M"),
            (3_600, "PT1H"),
            (86_400, "P1D"),
            (129_600.5, "P1DT12H0.5S"),
            (10, "PT10S"),
            (100, "PT1M40S"),
        ],
    )
    def test_writes_the_short_form(self, seconds: float, text: str) -> None:
        assert durations.text(seconds) == text

    @given(st.timedeltas(min_value=timedelta(0), max_value=MONTH))
    def test_is_read_back_to_the_microsecond(self, duration: timedelta) -> None:
        assert durations.parse(durations.text(duration.total_seconds())) == duration
