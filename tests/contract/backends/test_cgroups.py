"""Version 2 of control groups, on a tree of plain files where the machine has version 1."""

from pathlib import Path

import pytest

from runners.backends.base import CellLimits
from runners.sandboxd.cgroups import CgroupsV1, CgroupsV2, find_cgroups, weight_of_shares

FILES = (
    "cgroup.subtree_control", "cgroup.procs", "cgroup.freeze", "cgroup.kill", "memory.max",
    "memory.swap.max", "memory.oom.group", "cpu.weight", "cpu.max", "pids.max",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> CgroupsV2:
    for folder in (
        tmp_path,
        tmp_path / "hotswap",
        tmp_path / "hotswap/a",
        tmp_path / "hotswap/a/c",
    ):
        folder.mkdir(exist_ok=True)
        for name in FILES:
            (folder / name).write_text("")
    return CgroupsV2(tmp_path)


class TestVersion2:
    def test_delegates_controllers_down_to_the_cells(self, tree: CgroupsV2, tmp_path: Path) -> None:
        tree.make_parent("/hotswap/a")
        for folder in (tmp_path, tmp_path / "hotswap", tmp_path / "hotswap/a"):
            assert (folder / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
        assert (tmp_path / "hotswap/cpu.weight").read_text() == "25"

    def test_writes_every_limit(self, tree: CgroupsV2, tmp_path: Path) -> None:
        tree.limit("/hotswap/a/c", CellLimits(memory_mib=128, cpu_weight=1_024, cpu_cores=1.5))
        cell = tmp_path / "hotswap/a/c"
        written = {name: (cell / name).read_text() for name in FILES}
        assert written["memory.max"] == str(128 << 20)
        assert (written["memory.swap.max"], written["memory.oom.group"]) == ("0", "1")
        assert (written["cpu.max"], written["cpu.weight"]) == ("150000 100000", "39")
        assert written["pids.max"] == "64"

    def test_freezes_and_kills_by_file(self, tree: CgroupsV2, tmp_path: Path) -> None:
        tree.freeze("/hotswap/a/c")
        assert (tmp_path / "hotswap/a/c/cgroup.freeze").read_text() == "1"
        tree.kill("/hotswap/a/c")
        assert (tmp_path / "hotswap/a/c/cgroup.kill").read_text() == "1"

    def test_knows_nothing_of_a_group_that_is_gone(self, tree: CgroupsV2) -> None:
        assert tree.stats("/hotswap/gone").memory_bytes is None


class TestFinding:
    V1 = "31 2 0:1 / /sys/fs/cgroup/{0} rw - cgroup cgroup rw,{0}"
    V2 = "41 2 0:2 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw"

    def test_takes_version_1_where_it_has_memory(self) -> None:
        names = ("memory", "cpu,cpuacct", "pids", "freezer")
        text = "\n".join([*map(self.V1.format, names), self.V2])
        assert isinstance(find_cgroups(text), CgroupsV1)

    def test_takes_version_2_elsewhere(self) -> None:
        assert isinstance(find_cgroups(self.V2), CgroupsV2)

    def test_says_what_is_not_mounted(self) -> None:
        with pytest.raises(OSError, match="cpu, cpuacct, pids"):
            find_cgroups(self.V1.format("memory"))

    @pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1_024, 39), (262_144, 10_000)])
    def test_converts_weights_as_engines_do(self, shares: int, weight: int) -> None:
        assert weight_of_shares(shares) == weight
