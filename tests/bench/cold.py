"""Cold starts: the first call of a version that has no instance, beside `docker run`."""

import subprocess
import time
from collections.abc import Iterator

from hotswap.core.errors import BackendFailed
from runtimes import builder, catalog
from tests.bench import samples
from tests.bench.figures import Figure, Goal, NotMeasured, at_most, percentile, unmeasured
from tests.bench.lab import Lab
from tests.bench.platform import Platform, caller
from tests.bench.registry import benchmarks
from tests.bench.samples import Sample

RUNS = 50
REST_SECONDS = 0.4  # cold starts of one runtime do not come all at once; a burst is another figure
RATIO = at_most(0.05)
BODY = samples.payload()
_ONCE = {
    "python": "import sys,json; sys.path.insert(0,'/code'); from app import handler; "
    "print(json.dumps(handler(json.load(sys.stdin),None)))",
    "node": "require('/code/index.js').handler(JSON.parse(require('fs').readFileSync(0)))"
    ".then((answer) => console.log(JSON.stringify(answer)))",
}
_FLAG = {"python": "-c", "node": "-e"}


@benchmarks.register("cold")
def cold(lab: Lab) -> Iterator[Figure]:
    """First call of a version without an instance, against `docker run` of its image."""
    goals = {"python": (at_most(15), at_most(250)), "node": (at_most(15), at_most(200))}
    for sample in (samples.python(), samples.node()):
        yield from _compare(lab, sample, *goals[sample.language])


def _compare(lab: Lab, sample: Sample, p50: Goal, p99: Goal) -> Iterator[Figure]:
    name = f"cold_{sample.language}"
    image, why_not = _image(sample)
    function = f"cold-{sample.language}"
    versions = [lab.platform.deploy(function, sample) for _ in lab.rounds(RUNS)]
    lab.say(f"cold: {len(versions)} versions of {function}")
    ours, docker = _interleaved(lab.platform, function, versions, sample, image)

    if docker:
        ratio = percentile(ours, 0.5) / percentile(docker, 0.5)
        pairs = tuple(mine / theirs for mine, theirs in zip(ours, docker, strict=True))
        yield Figure(f"{name}_ratio", ratio, "", RATIO, pairs)
    else:
        yield unmeasured(f"{name}_ratio", "", RATIO, why_not)
    yield Figure(f"{name}_p50_ms", percentile(ours, 0.5), "ms", p50, tuple(ours))
    yield Figure(f"{name}_p99_ms", percentile(ours, 0.99), "ms", p99, tuple(ours))
    if docker:
        yield Figure(f"{name}_docker_p50_ms", percentile(docker, 0.5), "ms", None, tuple(docker))


def _interleaved(
    platform: Platform, function: str, versions: list[int], sample: Sample, image: str
) -> tuple[list[float], list[float]]:
    """Milliseconds of cold calls and of `docker run`, one of each in turn."""
    ours, docker = [], []
    for version in versions:
        if image:
            docker.append(_docker_run(sample, image))
        time.sleep(REST_SECONDS)
        ours.append(_first_call(platform, function, version))
    return ours, docker


def _first_call(platform: Platform, function: str, version: int) -> float:
    with caller(platform) as calls:
        answer = calls.call(function, BODY, version=version)
    if answer.status != 200 or answer.headers.get("x-hotswap-start") != "cold":
        raise NotMeasured(f"version {version} of {function}: {answer}")
    return answer.seconds * 1000


def _image(sample: Sample) -> tuple[str, str]:
    """The runtime's image, built if need be; or nothing, and why."""
    try:
        return builder.build(catalog.get(sample.runtime), base="debian", log=lambda line: None), ""
    except BackendFailed as failure:
        return "", f"no image to compare with: {failure}"


def _docker_run(sample: Sample, image: str) -> float:
    """Milliseconds from nothing to the handler's answer in a container of its own."""
    command = [
        "docker", "run", "--rm", "--interactive", "--network=none",
        f"--volume={sample.folder}:/code:ro", f"--entrypoint={builder.INTERPRETER}", image,
        _FLAG[sample.language], _ONCE[sample.language],
    ]  # fmt: skip
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(BODY)
        process.stdin.close()
        answer = process.stdout.readline()
        seconds = time.perf_counter() - started
        process.stdout.read()
    if b"4711" not in answer:
        raise NotMeasured(f"docker run {image} answered {answer!r}")
    return seconds * 1000
