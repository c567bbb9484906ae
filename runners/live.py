"""Hints that a function has new log lines. The lines themselves are read from the store."""

from collections.abc import Mapping

from hotswap.access import hints


def group(function_id: int) -> str:
    """The channel layer's group of everybody who watches a function's log."""
    return f"logs.{function_id}"


async def announce(last_seqs: Mapping[int, int]) -> None:
    """Tell watchers how far their functions' logs have come; call after the commit."""
    await hints.announce(
        {
            group(function_id): {"function_id": function_id, "last_seq": last_seq}
            for function_id, last_seq in last_seqs.items()
        }
    )
