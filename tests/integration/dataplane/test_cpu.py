"""CPU of instances, as heartbeats tell it while a rollout keeps their version warm."""

from tests.integration.dataplane.conftest import DataPlane

SPIN = (
    "import time\n"
    "def handler(event, context):\n"
    "    until = time.process_time() + 0.2\n"
    "    while time.process_time() < until:\n"
    "        pass\n"
)
IDLE = "def handler(event, context):\n    return 1\n"


def cpu(plane: DataPlane, function: str) -> list[float | None]:
    version = plane.control.function(function).versions[0].id
    return [
        instance.cpu_percent
        for instance in plane.control.heartbeats[-1].instances
        if instance.version_id == version
    ]


class TestCpu:
    def test_of_a_busy_instance_is_told_and_that_of_an_idle_one_is_low(
        self, plane: DataPlane
    ) -> None:
        for name, source in (("spinning", SPIN), ("resting", IDLE)):
            plane.upload(name, source, memory_mib=2_048)
            plane.control.warm(name, "production", {1: 1})

        def is_told() -> bool:
            plane.invoke("spinning")
            return any((percent or 0) > 10 for percent in cpu(plane, "spinning"))

        plane.wait(is_told, 20)
        plane.wait(lambda: any(p is not None and p < 5 for p in cpu(plane, "resting")), 10)
        for name in ("spinning", "resting"):
            plane.control.warm(name, "production", {})

    def test_is_not_measured_where_no_rollout_watches(self, plane: DataPlane) -> None:
        plane.upload("unwatched", IDLE)
        assert plane.invoke("unwatched").status_code == 200

        plane.wait(lambda: cpu(plane, "unwatched"), 10)

        assert cpu(plane, "unwatched") == [None]
