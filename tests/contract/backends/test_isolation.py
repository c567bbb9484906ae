"""An attacker inside a cell gets nothing; every line of the container's profile is in force."""

import json

import docker
import pytest

from runners.backends.bundle import MASKED_PATHS, READ_ONLY_PATHS, seccomp
from tests.contract.backends.conftest import Boot, Machine
from tests.contract.backends.conversation import Conversation, talk_to


@pytest.fixture
async def talk(boot: Boot, machine: Machine) -> Conversation:
    if not machine.isolates:
        pytest.skip("a plain process is not isolated")
    return await talk_to(await boot(), machine.code)


class TestAttacker:
    async def test_succeeds_with_nothing(self, talk: Conversation, machine: Machine) -> None:
        outcome = await talk.call("attack")
        admitted = {"execute_from_tmp"} if machine.kind == "rootless" else set()
        assert set(outcome["worked"]) <= admitted
        assert outcome["tried"] >= 80

    async def test_finds_no_secret_in_the_first_process(self, talk: Conversation) -> None:
        environment = await talk.call("environment_of_first_process")
        assert "SECRET" not in environment

    async def test_cannot_reach_another_cell(
        self, talk: Conversation, boot: Boot, machine: Machine
    ) -> None:
        other = await boot()
        assert await talk.call("find", name=other.id) == []


class TestProfile:
    def test_allows_no_system_call_that_opens_the_kernel(self) -> None:
        forbidden = {
            "unshare", "setns", "mount", "umount2", "move_mount", "open_tree", "fsopen",
            "pivot_root", "ptrace", "process_vm_readv", "bpf", "perf_event_open", "userfaultfd",
            "keyctl", "add_key", "request_key", "io_uring_setup", "io_uring_enter",
            "io_uring_register", "open_by_handle_at", "name_to_handle_at", "kexec_load",
            "personality", "init_module", "finit_module", "reboot", "chroot", "swapon",
        }  # fmt: skip
        rules = seccomp()["syscalls"]
        allowed = {name for rule in rules if "ALLOW" in rule["action"] for name in rule["names"]}
        assert allowed.isdisjoint(forbidden)
        assert seccomp()["defaultAction"] == "SCMP_ACT_ERRNO"

    async def test_of_a_container_is_complete(self, boot: Boot, machine: Machine) -> None:
        if not machine.kind.startswith("docker"):
            pytest.skip("not a container")
        cell = await boot()
        client = docker.from_env()
        try:
            found = client.api.inspect_container(cell.id)
        finally:
            client.close()
        host, config = found["HostConfig"], found["Config"]
        assert config["User"] == "65534:65534"
        assert config["StopTimeout"] == 2
        assert not [name for name in config["Env"] if "HOTSWAP" in name]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["Privileged"] is False
        assert host["ReadonlyRootfs"] is True
        assert "no-new-privileges:true" in host["SecurityOpt"]
        profile = next(o for o in host["SecurityOpt"] if o.startswith("seccomp="))
        assert json.loads(profile.removeprefix("seccomp=")) == seccomp()
        tmp = set(host["Tmpfs"]["/tmp"].split(","))
        assert tmp >= {"noexec", "nosuid", "nodev", "size=64m", "nr_inodes=4096"}
        assert host["MaskedPaths"] == list(MASKED_PATHS)
        assert host["ReadonlyPaths"] == list(READ_ONLY_PATHS)
        assert host["PidsLimit"] == 64
        assert host["Memory"] == host["MemorySwap"] == 512 << 20
        assert host["CpuQuota"] == 2 * host["CpuPeriod"]
        limits = {item["Name"]: (item["Soft"], item["Hard"]) for item in host["Ulimits"]}
        assert limits == {
            "nofile": (1024, 1024), "core": (0, 0), "fsize": (67_108_864, 67_108_864)
        }  # fmt: skip
        assert (host["NetworkMode"], host["IpcMode"], host["PidMode"]) == ("none", "none", "")
        assert host["LogConfig"]["Type"] == "none"
        assert host["Sysctls"] == {"net.ipv4.ping_group_range": "1 0"}
        assert host["OomScoreAdj"] == 800
        assert host["CgroupParent"].startswith("/hotswap/") or machine.kind == "docker-alone"
        assert [(m["Destination"], m["RW"]) for m in found["Mounts"]] == [("/run/hs", False)]
        assert not host["Binds"]
        assert not host["Devices"]
