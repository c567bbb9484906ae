"""`manage.py seed_functions --count 10000`: many small functions, for benchmarks."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from functions import packages
from functions.services.bulk import functions_seed
from hotswap.core import clock

HANDLER = {"main.py": "def handler(event, context):\n    return event\n"}


class Command(BaseCommand):
    """Makes functions with one Python version each and publishes them as one revision."""

    help = "Make many small functions, published as one revision."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=10_000)
        parser.add_argument("--prefix", default="seed")

    def handle(self, *args: Any, **options: Any) -> None:
        with packages.received(packages.from_files(HANDLER)) as package:
            made = functions_seed(
                prefix=options["prefix"],
                count=options["count"],
                runtime="python3.11",
                handler="main.handler",
                package=package,
                actor="seed",
                now=clock.utc_now(),
            )
        self.stdout.write(f"{made} functions made")
