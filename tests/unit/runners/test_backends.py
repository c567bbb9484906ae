"""What belongs to which of several runners on one machine."""

from pathlib import Path

import pytest

from hotswap.config import load
from runners.backends.docker import Placing
from runners.backends.select import _inherited


def placing(runner: int, runners: int) -> Placing:
    return Placing(mark="m", cells=Path("c"), base="debian", runner=runner, runners=runners)


class TestPlacing:
    @pytest.mark.parametrize("runners", [1, 2, 3])
    @pytest.mark.parametrize("labels", [{}, *({"hotswap.runner": str(n)} for n in range(5))])
    def test_gives_every_container_exactly_one_runner(
        self, runners: int, labels: dict[str, str]
    ) -> None:
        owners = [n for n in range(runners) if placing(n, runners).owns(labels)]

        assert len(owners) == 1

    def test_leaves_a_runner_its_own(self) -> None:
        for number in range(3):
            assert placing(number, 3).owns(placing(number, 3).labels)


class TestInherited:
    @pytest.mark.parametrize("runners", ["1", "2"])
    def test_never_names_the_directory_of_a_runner_there_is(self, runners: str) -> None:
        config = load({"HOTSWAP_RUNNER_PROCESSES": runners, "HOTSWAP_STATE_DIR": "/s"})
        inherited = set(_inherited(config))

        assert not inherited & {place.cells for place in config.runners}
        assert len({place.cells for place in config.runners} | inherited) == 65


class TestRunners:
    def test_share_one_region_or_have_one_each(self) -> None:
        def regions(names: str) -> list[str]:
            settings = {"HOTSWAP_RUNNER_PROCESSES": "2", "HOTSWAP_RUNNER_REGIONS": names}
            return [place.region for place in load(settings).runners]

        assert regions("") == ["", ""]
        assert regions("north") == ["north", "north"]
        assert regions("north,south") == ["north", "south"]

    def test_alone_keep_the_names_of_before(self) -> None:
        (place,) = load({"HOTSWAP_RUNNER_NAME": "box", "HOTSWAP_STATE_DIR": "/s"}).runners

        assert (place.name, place.socket, place.directory, place.cells) == (
            "box", Path("/s/run/runner.sock"), Path("/s/runner"), Path("/s/run/cells"),
        )  # fmt: skip
