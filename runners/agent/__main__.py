"""`python -m runners.agent`: the runner of this machine."""

import asyncio
import logging
import sys

from hotswap import config as configuration
from hotswap.core.errors import BackendFailed
from runners.agent.runner import Runner
from runners.backends.select import make_backend
from runners.link.process import serve

log = logging.getLogger("hotswap.runner")


async def run(stop: asyncio.Event) -> None:
    """Build everything from the configuration and serve."""
    config = configuration.current()
    runner = Runner(config, make_backend(config))
    await runner.run(stop, lambda: log.info("ready on %s", config.runner_socket))


def main() -> int:
    """Exit status 0 after a drain, 1 when this machine cannot isolate functions."""
    try:
        serve("runner", run)
    except (BackendFailed, configuration.ConfigError) as exc:
        sys.stderr.write(f"runner: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
