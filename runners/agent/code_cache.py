"""Unpacked packages on this machine: fetched once, verified, kept by least recent use."""

import asyncio
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

import httpx2

from hotswap.core import archive, clock
from hotswap.core.errors import Unavailable, UnsupportedPackage

log = logging.getLogger("hotswap.code_cache")

TRIES_SECONDS = (0.0, 0.2, 0.8)


class CodeCache:
    """Directories by the SHA-256 of their package.

    Bytes are hashed before they are unpacked, and an unpacked tree that was kept from an
    earlier run is hashed again before its first use: what runs is what was uploaded.

    Args:
        root: owned by the runner alone.
        max_bytes: unpacked trees that nobody uses go, oldest use first, above this.
    """

    def __init__(self, *, root: Path, client: httpx2.AsyncClient, max_bytes: int) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._root = root
        self._client = client
        self._max_bytes = max_bytes
        self._trees: dict[str, _Tree] = {}
        self._fetching: dict[str, asyncio.Task[_Tree]] = {}

    async def acquire(self, sha256: str) -> Path:
        """The package's directory, kept until `release`.

        Raises:
            Unavailable: its bytes cannot be had, or are not what was uploaded.
        """
        tree = self._trees.get(sha256)
        if tree is None:
            tree = await self._single_flight(sha256)
        tree.users += 1
        tree.used_at = clock.monotonic()
        return tree.path

    def release(self, sha256: str) -> None:
        """One instance less uses it."""
        tree = self._trees[sha256]
        tree.users -= 1
        tree.used_at = clock.monotonic()

    async def _single_flight(self, sha256: str) -> "_Tree":
        task = self._fetching.get(sha256)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(sha256))
            self._fetching[sha256] = task
            task.add_done_callback(lambda _: self._fetching.pop(sha256, None))
        return await asyncio.shield(task)

    async def _load(self, sha256: str) -> "_Tree":
        path = self._root / sha256
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, _is_intact, path):
            package = await self._fetch(sha256)
            try:
                await loop.run_in_executor(None, _unpack, package, path)
            except UnsupportedPackage as exc:
                raise Unavailable(f"package {sha256[:12]} cannot be unpacked: {exc}") from exc
            finally:
                os.unlink(package)
        size = await loop.run_in_executor(None, _tree_bytes, path)
        tree = self._trees[sha256] = _Tree(path, size)
        await self._trim(keep=sha256)
        return tree

    async def _fetch(self, sha256: str) -> Path:
        problem = ""
        for pause in TRIES_SECONDS:
            await asyncio.sleep(pause)
            try:
                return await self._download(sha256)
            except (httpx2.HTTPError, OSError, ValueError) as exc:
                problem = str(exc) or type(exc).__name__
        raise Unavailable(f"the code (package {sha256[:12]}) cannot be fetched: {problem}")

    async def _download(self, sha256: str) -> Path:
        digest = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=self._root, prefix=".package-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                path = f"/internal/v1/artifacts/{sha256}"
                async with self._client.stream("GET", path) as response:
                    response.raise_for_status()
                    async for chunk in response.aiter_bytes(1 << 20):
                        digest.update(chunk)
                        file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ValueError("its bytes are not those that were uploaded")
        except BaseException:
            os.unlink(name)
            raise
        return Path(name)

    async def _trim(self, keep: str) -> None:
        """Remove unused trees above the cap, the longest unused first."""
        total = sum(tree.size for tree in self._trees.values())
        unused = sorted(
            (tree.used_at, sha256)
            for sha256, tree in self._trees.items()
            if tree.users == 0 and sha256 != keep
        )
        for _, sha256 in unused:
            if total <= self._max_bytes:
                break
            tree = self._trees.pop(sha256)
            total -= tree.size
            log.info("removing package %s from the cache", sha256[:12])
            await asyncio.get_running_loop().run_in_executor(None, _remove, tree.path)


class _Tree:
    __slots__ = ("path", "size", "used_at", "users")

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.users = 0
        self.used_at = clock.monotonic()


def _seal(path: Path) -> Path:
    """Where a tree's own digest is kept."""
    return path.with_name(f"{path.name}.tree")


def _unpack(package: Path, path: Path) -> None:
    """Unpack beside the target and rename: a crash leaves no half tree under the name."""
    _remove(path)
    fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=".tree-"))
    try:
        archive.unpack(package, fresh)
        fresh.chmod(0o755)
        _seal(path).write_text(_tree_digest(fresh))
        fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _is_intact(path: Path) -> bool:
    try:
        return path.is_dir() and _seal(path).read_text() == _tree_digest(path)
    except OSError:
        return False


def _remove(path: Path) -> None:
    _seal(path).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _tree_digest(path: Path) -> str:
    """One hash over names, modes and contents."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        stat = file.lstat()
        digest.update(f"{file.relative_to(path)}\0{stat.st_mode:o}\0{stat.st_size}\0".encode())
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _tree_bytes(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
