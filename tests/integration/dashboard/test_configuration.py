"""The configuration form of a function's page."""

from typing import TYPE_CHECKING

import pytest

from tests.integration.dashboard.conftest import Make

if TYPE_CHECKING:
    from django.test import Client

PATH = "/functions/function-00000/configuration"
FORM = {
    "runtime": "python3.11",
    "handler": "main.handler",
    "memory_mib": "256",
    "timeout_seconds": "30",
    "max_instances": "100",
    "idle_timeout_seconds": "300",
    "max_queue": "1000",
    "save": "1",
}
TICKED = 'name="is_idempotent" value="1" checked'


class TestIdempotent:
    @pytest.mark.parametrize("ticks", [{"is_idempotent": "1"}, {}], ids=["ticked", "cleared"])
    def test_is_what_the_box_says(
        self, browser: "Client", make_functions: Make, ticks: dict[str, str]
    ) -> None:
        make_functions(1)
        address = PATH.replace("configuration", "configure")
        browser.post(address, {**FORM, "is_idempotent": "1"})

        browser.post(address, {**FORM, **ticks})

        assert (TICKED in browser.get(PATH).content.decode()) is bool(ticks)
