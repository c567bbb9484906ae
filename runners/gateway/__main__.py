"""`python -m runners.gateway [NUMBER]`: one gateway process; several share the port."""

import asyncio
import logging
import sys

from hotswap import config as configuration
from runners.gateway.gateway import Gateway
from runners.link.process import serve

log = logging.getLogger("hotswap.gateway")


def main(number: int) -> int:
    """Exit status 0 after a drain, 1 when it cannot listen or is not configured."""

    async def run(stop: asyncio.Event) -> None:
        config = configuration.current()
        gateway = Gateway(config, number)
        address = f"{config.gateway.host}:{config.gateway.port}"
        await gateway.run(stop, lambda: log.info("ready on %s", address))

    try:
        serve(f"gateway-{number}", run)
    except (OSError, configuration.ConfigError) as exc:
        sys.stderr.write(f"gateway: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
