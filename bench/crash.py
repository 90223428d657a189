"""Every death before, during and after every step of a machine's life, on real QEMU; the suite meets those during them.

Run: python -m bench.crash. It enters namespaces of its own (tests/cell); about five minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    tests = ["-m", "pytest", "-q", "-m", "qemu", "--durations", "0", "tests/flows/test_crashes.py"]
    command = [str(ROOT / "tests" / "cell" / "enter"), sys.executable, *tests]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"VISA_EVERY_CRASH": "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
