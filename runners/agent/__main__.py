"""`python -m runners.agent [NUMBER]`: one runner process of this machine."""

import asyncio
import logging
import sys

from hotswap import config as configuration
from hotswap.core.errors import BackendFailed
from runners.agent.runner import Runner
from runners.backends.select import make_backend
from runners.link.process import serve

log = logging.getLogger("hotswap.runner")


def main(number: int) -> int:
    """Exit status 0 after a drain, 1 when this machine cannot isolate functions."""

    async def run(stop: asyncio.Event) -> None:
        config = configuration.current()
        place = _place(config, number)
        runner = Runner(config, make_backend(config, place), place)
        await runner.run(stop, lambda: log.info("ready on %s", place.socket))

    try:
        serve("runner", run)
    except (BackendFailed, configuration.ConfigError) as exc:
        sys.stderr.write(f"runner: {exc}\n")
        return 1
    return 0


def _place(config: configuration.Config, number: int) -> configuration.RunnerPlace:
    if number not in range(config.runner.processes):
        raise configuration.ConfigError(
            f"there is no runner {number}: HOTSWAP_RUNNER_PROCESSES is {config.runner.processes}"
        )
    return config.runners[number]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
