"""`make bench`: every measurement, one after the other, on an otherwise quiet host."""

import subprocess
import sys

MEASUREMENTS = ["bench.relay", "bench.home", "bench.cold_start"]


def main() -> int:
    codes = []
    for name in MEASUREMENTS:
        codes.append(subprocess.run([sys.executable, "-m", name], check=False).returncode)
        print(flush=True)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
