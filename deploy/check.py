"""`make check`: all that can be known without running VISA. Every check runs, so that one round shows all there is."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from deploy.steps import ROOT, main_of, say
from deploy.supervision import BIN

PACKAGES = ["visa_site", "desktops", "instances", "experiments", "deploy", "tests", "bench"]
MANAGE = [str(BIN / "python"), "manage.py"]
TRANSLATIONS = [str(path) for path in sorted(ROOT.glob("locale/*/LC_MESSAGES/*.po"))]
CHECKS = {
    "style": [str(BIN / "ruff"), "check", "--quiet", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
    "translations": ["msgfmt", "--check-format", "-o", "/dev/null", *TRANSLATIONS],
    "import contracts": [str(BIN / "lint-imports")],
    "production settings": [*MANAGE, "check", "--deploy", "--fail-level", "WARNING"],
    "migrations": [*MANAGE, "makemigrations", "--check", "--dry-run"],
    "types": [str(BIN / "mypy"), *PACKAGES],
}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="visa-check-") as home:
        environment = production(Path(home))
        failed = [name for name, command in CHECKS.items() if not passes(name, command, environment)]
    say(f"Not in order: {', '.join(failed)}" if failed else "All in order.")
    return 1 if failed else 0


def production(home: Path) -> dict[str, str]:
    """The settings of a sound installation behind a proxy with a certificate."""
    return os.environ | {
        "VISA_HOME": str(home),
        "VISA_SECRET_KEY": secrets.token_urlsafe(50),
        "VISA_ENCRYPTION_KEYS": secrets.token_urlsafe(50),
        "VISA_DEPLOYMENT": str(uuid.uuid4()),
        "VISA_PUBLIC_URL": "https://machines.facility.org",
        "VISA_ALLOWED_HOSTS": "machines.facility.org",
        "VISA_APPS_DOMAIN": "apps.facility.org",
        "VISA_BEHIND_PROXY": "1",
    }


def passes(name: str, command: list[str], environment: dict[str, str]) -> bool:
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    say(f"{name}: {'in order' if done.returncode == 0 else 'NOT IN ORDER'} ({time.monotonic() - began:.1f} s)")
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main_of(main))
