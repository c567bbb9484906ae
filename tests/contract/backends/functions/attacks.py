"""What an attacker tries from inside a cell. Each attack returns normally if it worked."""

import ctypes
import os
import platform
import resource
import socket
import stat
import struct

ATTACKS = {}
_libc = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {
    "x86_64": {
        "ptrace": 101, "bpf": 321, "keyctl": 250, "add_key": 248, "request_key": 249,
        "userfaultfd": 323, "perf_event_open": 298, "open_by_handle_at": 304,
        "name_to_handle_at": 303, "kexec_load": 246, "personality": 135, "init_module": 175,
        "process_vm_readv": 310, "setns": 308, "unshare": 272, "mount": 165, "umount2": 166,
        "pivot_root": 155, "swapon": 167, "reboot": 169, "syslog": 103, "iopl": 172,
        "acct": 163, "settimeofday": 164, "quotactl": 179, "lookup_dcookie": 212,
        "vmsplice": 278, "kcmp": 312, "pidfd_getfd": 438, "io_uring_setup": 425,
        "open_tree": 428, "fsopen": 430, "mount_setattr": 442, "memfd_secret": 447,
        "clock_settime": 227, "sethostname": 170, "move_pages": 279, "io_setup": 206,
    },
    "aarch64": {
        "ptrace": 117, "bpf": 280, "keyctl": 219, "add_key": 217, "request_key": 218,
        "userfaultfd": 282, "perf_event_open": 241, "open_by_handle_at": 265,
        "name_to_handle_at": 264, "kexec_load": 104, "personality": 92, "init_module": 105,
        "process_vm_readv": 270, "setns": 268, "unshare": 97, "mount": 40, "umount2": 39,
        "pivot_root": 41, "swapon": 224, "reboot": 142, "syslog": 116, "acct": 89,
        "settimeofday": 170, "quotactl": 60, "vmsplice": 75, "kcmp": 272, "pidfd_getfd": 438,
        "io_uring_setup": 425, "open_tree": 428, "fsopen": 430, "mount_setattr": 442,
        "memfd_secret": 447, "clock_settime": 112, "sethostname": 161, "io_setup": 0,
    },
}  # fmt: skip
_ARGUMENTS = {
    "ptrace": (0,), "unshare": (0x10000000,), "personality": (0x0040000,), "keyctl": (0, -3),
    "userfaultfd": (1,), "io_uring_setup": (8, ctypes.create_string_buffer(240)),
    "add_key": (b"user", b"x", b"y", 1, -3), "fsopen": (b"tmpfs", 0), "io_setup":
    (8, ctypes.byref(ctypes.c_ulong(0))), "open_tree": (-100, b"/tmp", 1),
    "mount": (b"none", b"/tmp", b"tmpfs", 0, 0), "syslog": (3, ctypes.create_string_buffer(99), 99),
    "sethostname": (b"x", 1), "memfd_secret": (0,), "kcmp": (1, 1, 0, 0, 1),
}  # fmt: skip


def attack(work):
    ATTACKS[work.__name__] = work
    return work


def succeeded():
    """Names of the attacks that worked, and how many were tried."""
    worked = []
    for name, work in ATTACKS.items():
        try:
            work()
        except Exception:  # noqa: BLE001 - any failure is the cell's success
            continue
        worked.append(name)
    return {"tried": len(ATTACKS), "worked": worked}


def _system_call(name, number):
    def work():
        arguments = _ARGUMENTS.get(name, (0, 0, 0, 0, 0))
        if _libc.syscall(ctypes.c_long(number), *arguments) < 0:
            raise OSError(ctypes.get_errno(), name)

    work.__name__ = name
    attack(work)


for _name, _number in _NUMBERS.get(platform.machine(), {}).items():
    _system_call(_name, _number)


def _reads(path):
    def work():
        with open(path, "rb") as file:
            if not file.read(16):
                raise OSError("nothing in it")

    work.__name__ = f"read {path}"
    attack(work)


def _writes(path):
    def work():
        with open(path, "r+b", buffering=0) as file:
            file.write(b"1")

    work.__name__ = f"write {path}"
    attack(work)


def _lists(path):
    def work():
        if not os.listdir(path):
            raise OSError("nothing in it")

    work.__name__ = f"list {path}"
    attack(work)


for _path in (
    "/etc/shadow", "/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/timer_list",
    "/proc/interrupts", "/dev/mem", "/dev/sda", "/dev/vda", "/dev/kmsg", "/root/.bashrc",
    "/etc/machine-id", "/proc/1/root/etc/shadow",
):  # fmt: skip
    _reads(_path)
for _path in (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
    "/proc/sys/vm/overcommit_memory", "/etc/passwd", "/etc/ld.so.cache", "/usr/bin/env",
    "/sys/kernel/uevent_helper", "/proc/self/oom_score_adj_",
):  # fmt: skip
    _writes(_path)
for _path in (
    "/sys/fs/cgroup", "/root", "/home", "/run/hotswap", "/var/lib/docker",
    "/var/lib/postgresql", "/run/docker", "/sys/kernel",
    "/proc/1/root/root", "/boot", "/mnt",
):  # fmt: skip
    _lists(_path)


def _connects(family, kind, address, name):
    def work():
        with socket.socket(family, kind) as made:
            made.settimeout(2)
            made.connect(address)

    work.__name__ = f"connect {name}"
    attack(work)


for _port in (22, 5432, 6379, 8000, 8001):
    _connects(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", _port), f"loopback {_port}")
_connects(socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80), "metadata service")
_connects(socket.AF_INET, socket.SOCK_STREAM, ("172.17.0.1", 22), "docker bridge")
_connects(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53), "name server")
_connects(socket.AF_UNIX, socket.SOCK_STREAM, "/var/run/docker.sock", "docker.sock")
_connects(socket.AF_UNIX, socket.SOCK_STREAM, "/run/hs/ctl.sock", "control socket again")


@attack
def lower_oom_score():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-500")


@attack
def raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@attack
def ping_socket():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)


@attack
def packet_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)


@attack
def vsock_socket():
    socket.socket(40, socket.SOCK_STREAM)


@attack
def crypto_socket():
    socket.socket(38, socket.SOCK_SEQPACKET)


@attack
def become_root():
    os.setuid(0)


@attack
def become_root_group():
    os.setgroups([0])


@attack
def change_root():
    os.chroot("/tmp")


@attack
def make_device():
    os.mknod("/tmp/device", 0o600 | stat.S_IFBLK, os.makedev(254, 0))


@attack
def namespace_by_clone():
    if _libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) < 0:
        raise OSError("refused")


@attack
def execute_from_tmp():
    with open("/tmp/run", "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
    os.chmod("/tmp/run", 0o755)
    if os.spawnv(os.P_WAIT, "/tmp/run", ["/tmp/run"]) != 0:
        raise OSError("refused")


@attack
def set_user_id_program():
    for folder in ("/usr/bin", "/bin"):
        for name in ("su", "mount", "passwd", "sudo"):
            path = os.path.join(folder, name)
            if os.path.exists(path) and os.stat(path).st_mode & stat.S_ISUID:
                if os.statvfs(path).f_flag & os.ST_NOSUID:
                    continue
                with open("/proc/self/status") as status:
                    if "NoNewPrivs:\t0" in status.read():
                        return
    raise OSError("none that would help")


@attack
def see_other_processes():
    mine = {str(os.getpid()), str(os.getppid()), "1"}
    if not [name for name in os.listdir("/proc") if name.isdigit() and name not in mine]:
        raise OSError("alone")


@attack
def have_capabilities():
    with open("/proc/self/status") as status:
        sets = [line.split()[1] for line in status if line.startswith("Cap")]
    if not any(int(value, 16) for value in sets):
        raise OSError("none")


@attack
def secrets_in_first_environment():
    with open("/proc/1/environ") as file:
        text = file.read()
    if "SECRET" not in text and "HOTSWAP" not in text and "PASSWORD" not in text:
        raise OSError("no secret")


@attack
def raise_open_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))


@attack
def dump_core():
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise OSError("off")


@attack
def write_meeting_directory():
    with open("/run/hs/x", "w"):
        pass


@attack
def replace_code():
    os.rename("/run/hs/task", "/run/hs/other")


@attack
def write_in_root():
    os.mkdir("/x")


@attack
def interface_besides_loopback():
    if [name for _, name in socket.if_nameindex() if name != "lo"] == []:
        raise OSError("none")


@attack
def inject_into_terminal():
    import fcntl

    fcntl.ioctl(0, 0x5412, struct.pack("c", b"x"))


@attack
def shared_memory_folder():
    with open("/dev/shm/x", "w"):
        pass


@attack
def signal_outside():
    for pid in range(2, 400):
        if pid not in (os.getpid(), os.getppid()):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                continue
            return
    raise OSError("nobody")
