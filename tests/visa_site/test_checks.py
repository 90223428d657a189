"""What `manage.py check --deploy` refuses, and that it has nothing to say about a sound installation."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage

from visa_site import checks

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "SECRET_KEY": "2hR9sXk0PqTz7VbYw4NcLmGdFjQaEuKo5iWy8r1tDnB",
    "ENCRYPTION_KEYS": ["Zk3nVq7bTt0xWcYp9LsJdGhRm2FaKuEoQi5wNy8r1DB"],
    "PUBLIC_URL": "https://machines.facility.org",
    "ALLOWED_HOSTS": ["machines.facility.org"],
    "APPS_DOMAIN": "apps.facility.org",
    "VISA_DEPLOYMENT": "b0ff9e2e-5f3c-4e63-9c53-5a51b16a0f7c",
}


def findings(settings: Any, **wrong: Any) -> list[CheckMessage]:
    for name, value in {**GOOD, **wrong}.items():
        setattr(settings, name, value)
    return [*checks.secrets(), *checks.address(), *checks.apps_domain(), *checks.deployment()]


def test_a_sound_installation_is_left_in_peace(settings: Any) -> None:
    assert findings(settings) == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SECRET_KEY", "short", "visa.E001"),
        ("SECRET_KEY", "a" * 60, "visa.E001"),
        ("SECRET_KEY", "change-me-0123456789-abcdefghijklmnopqrstuvwxyz", "visa.E001"),
        ("ENCRYPTION_KEYS", [], "visa.E002"),
        ("ENCRYPTION_KEYS", [""], "visa.E002"),
        ("ENCRYPTION_KEYS", [*GOOD["ENCRYPTION_KEYS"], "short"], "visa.E002"),
        ("ENCRYPTION_KEYS", [GOOD["SECRET_KEY"]], "visa.E003"),
        ("PUBLIC_URL", "http://machines.facility.org", "visa.W010"),
        ("ALLOWED_HOSTS", ["localhost"], "visa.E011"),
        ("ALLOWED_HOSTS", ["*", "machines.facility.org"], "visa.E012"),
        ("APPS_DOMAIN", "machines.facility.org", "visa.E030"),
        ("APPS_DOMAIN", "https://apps.facility.org", "visa.E031"),
        ("APPS_DOMAIN", "*.apps.facility.org", "visa.E031"),
        ("APPS_DOMAIN", "apps.machines.facility.org", "visa.E032"),
        ("APPS_DOMAIN", "facility.org:8443", "visa.E032"),
        ("VISA_DEPLOYMENT", "00000000-0000-0000-0000-000000000001", "visa.E020"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(settings: Any, name: str, value: Any, code: str) -> None:
    found = findings(settings, **{name: value})
    assert [message.id for message in found] == [code]
    assert found[0].hint


@pytest.mark.parametrize("key", [None, "", "too-short", "insecure-" + "x" * 60])
def test_no_process_starts_without_a_real_secret(tmp_path: Path, key: str | None) -> None:
    """SEC-28: outside debugging there is no default to fall back to."""
    done = run_with(tmp_path, "print('started')", VISA_SECRET_KEY=key)
    assert done.returncode != 0
    assert "VISA_SECRET_KEY" in done.stderr
    assert "started" not in done.stdout


def test_cookies_of_an_https_site_stay_on_that_host_alone(tmp_path: Path) -> None:
    """SEC-36: __Host- (RFC 6265bis, 4.1.3.2) wants Secure, the path / and no domain; no script reads them."""
    names = "SESSION_COOKIE_NAME SESSION_COOKIE_SECURE SESSION_COOKIE_HTTPONLY SESSION_COOKIE_SAMESITE"
    names += " SESSION_COOKIE_DOMAIN CSRF_COOKIE_NAME CSRF_COOKIE_SECURE CSRF_COOKIE_HTTPONLY CSRF_COOKIE_SAMESITE"
    program = f"from django.conf import settings\nfor name in {names.split()!r}: print(getattr(settings, name))"
    key = secrets.token_urlsafe(50)
    done = run_with(tmp_path, program, VISA_SECRET_KEY=key, VISA_PUBLIC_URL="https://machines.facility.org")
    assert done.stdout.split() == [
        *("__Host-visa", "True", "True", "Lax", "None"),
        *("__Host-visa-csrf", "True", "True", "Lax"),
    ]


def run_with(home: Path, program: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Runs a program on the site's own settings in an empty VISA_HOME."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VISA_")}
    given = {name: value for name, value in environment.items() if value is not None}
    ours = {"VISA_HOME": str(home), "DJANGO_SETTINGS_MODULE": "visa_site.settings"}
    start = f"import django; django.setup()\n{program}"
    return subprocess.run(
        [sys.executable, "-c", start], cwd=ROOT, env=clean | ours | given, capture_output=True, text=True, check=False
    )
