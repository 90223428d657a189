"""`make bench`: every measurement, one after the other, on an otherwise quiet host."""

import subprocess
import sys

from deploy import image
from tests.flows.installation import IMAGES

MEASUREMENTS = [
    "bench.relay",
    "bench.webapps",
    "bench.files",
    "bench.watchers",
    "bench.home",
    "bench.scale",
    "bench.cold_start",
    "bench.soak",
]


def main() -> int:
    with image.being_built("ci", IMAGES) as builder:  # the cell that starts machines has no network to build it in
        image.follow(builder)
    codes = []
    for name in MEASUREMENTS:
        codes.append(subprocess.run([sys.executable, "-m", name], check=False).returncode)
        print(flush=True)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
