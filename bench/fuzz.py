"""A million things that somebody who may only watch could say, and whether a byte too much reaches the machine.

Run: python -m bench.fuzz [streams]. Each stream goes through the sieve of a line of one's own whole and byte by byte,
and byte by byte through a visit in a gallery; one in twenty also cut in two at each place in turn. On all cores.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import uvloop

from tests.desktops.fuzzing import check_cuts, check_sieve, check_watcher, streams

STREAMS = 1_000_000
AT_ONCE = 5_000
CUT_EVERY = 20
MEMORY_LIMIT = 1.1


def check(seed: int, number: int) -> tuple[int, int]:
    """Bytes that were said, and the most memory that this process ever had, in KiB. Raises AssertionError."""
    return uvloop.run(_check(seed, number)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def _check(seed: int, number: int) -> int:
    size = 0
    for index, said in enumerate(streams(seed, number)):
        check_sieve(said)
        if index % CUT_EVERY == 0:
            check_cuts(said)
        await check_watcher(said)
        size += len(said)
    gc.collect()
    return size


def main() -> int:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else STREAMS
    begin, size, most = time.monotonic(), 0, list[int]()
    seeds = range(0, number, AT_ONCE)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for bytes_said, memory in pool.map(check, seeds, (min(AT_ONCE, number - seed) for seed in seeds)):
            size += bytes_said
            most.append(memory)
            print(f"\r{len(most) * AT_ONCE:,} streams", end="", file=sys.stderr, flush=True)
    took = time.monotonic() - begin
    # The first rounds of each process fill its caches.
    growth = most[-1] / most[min(len(most) - 1, 2 * (os.cpu_count() or 1))]
    print(f"\n  {number:,} streams, {size:,} bytes, in {took / 60:.1f} min: not a byte too much reached a machine")
    print(f"  most memory of a process {max(most):,} KiB, in the end {growth:.3f} times that of the beginning")
    return 0 if growth <= MEMORY_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
