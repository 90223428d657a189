"""Installs what VISA runs on: packages, .venv, browser libraries, translations. `python3 -m deploy.install [test]`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy import vendor
from deploy.steps import ROOT, Failed, as_root, fingerprint, main_of, run, say, unless_done

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = "uv==0.13.9"
# Compiled now, once: every start of every process would else do it, for seconds, where Python may not write it down.
UV_SYNC = ["pip", "sync", "--system-certs", "--compile-bytecode"]
LOG = Path(os.environ.get("VISA_HOME", ROOT / "var")).resolve() / "log" / "install.log"

DEBIAN_RUN = [
    *("python3", "ca-certificates", "gcc", "libc6-dev", "pkg-config", "libvirt-dev", "gettext"),
    *("qemu-system-x86", "qemu-utils", "libvirt-daemon-system", "libvirt-daemon-driver-qemu", "libvirt-clients"),
    *("dnsmasq-base", "iptables", "nftables", "redis-server"),
    *("mmdebstrap", "e2fsprogs", "extlinux", "mount", "kmod"),  # guest/build
]
DEBIAN_TEST = [
    *("postgresql", "curl", "iproute2", "tigervnc-standalone-server"),
    *("chromium", "chromium-headless-shell", "fonts-dejavu-core"),
    *("openssh-server", "tmux"),  # started by tests as a machine has them, on loopback
    "ipxe",  # the smallest guest that takes an address
]
DEBIAN_PYTHON = ["python3-venv", "python3-dev"]
DEBIAN_NODE = ["nodejs", "npm"]


def main() -> int:
    install(for_tests="test" in sys.argv[1:])
    return 0


def install(for_tests: bool = False) -> None:
    """Everything that is missing, and nothing twice: a second call takes well under a second."""
    if sys.version_info < (3, 11):  # noqa: UP036 - python3 may be any on the host where this starts
        raise Failed("VISA needs Python 3.11 or newer. On Debian 12: apt-get install python3")
    install_packages(DEBIAN_RUN + (DEBIAN_TEST if for_tests else []))
    install_python()
    install_browser_libraries()
    compile_translations()


def install_packages(wanted: list[str]) -> None:
    missing = missing_packages(wanted)
    if not missing:
        say("Debian packages: all there")
        return
    say(f"Debian packages: installing {', '.join(missing)}")
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y"]
    run(as_root([*apt, "update"]), LOG, quiet)
    run(as_root([*apt, "install", "--no-install-recommends", *missing]), LOG, quiet)


def missing_packages(wanted: list[str]) -> list[str]:
    """What dpkg does not know as installed. A Python or npm from elsewhere is as good as Debian's."""
    if Path(sys.executable).resolve().is_relative_to("/usr/bin"):
        wanted = wanted + DEBIAN_PYTHON
    if shutil.which("npm") is None:
        wanted = wanted + DEBIAN_NODE
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted]
    try:
        known = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise Failed("VISA installs itself on Debian 12; this system has no dpkg.") from None
    there = {line.split()[0] for line in known.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in there]


def install_python() -> None:
    locks = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]
    inputs = fingerprint(locks, sys.version, sys.executable, UV, *UV_SYNC)
    if not unless_done(VENV / ".installed", inputs, lambda: _fill_venv([str(lock) for lock in locks])):
        say("Python packages: all there")


def _fill_venv(locks: list[str]) -> None:
    say("Python packages: installing into .venv")
    if not PYTHON.exists():
        run([sys.executable, "-m", "venv", str(VENV)], LOG)
    if not (VENV / "bin" / "uv").exists():
        run([str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV], LOG)
    try:
        run([str(VENV / "bin" / "uv"), *UV_SYNC, "--python", str(PYTHON), *locks], LOG)
    except Failed:  # pip knows more of where a site keeps its packages (pip.conf), and takes its time
        say("Python packages: installing with pip, as uv could not")
        files = [word for lock in locks for word in ("--requirement", lock)]
        run([str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", *files], LOG)


def install_browser_libraries() -> None:
    inputs = fingerprint([ROOT / "package-lock.json", ROOT / "deploy" / "vendor.py", ROOT / "deploy" / "icons.txt"])
    if not unless_done(ROOT / "static" / "vendor" / ".installed", inputs, _copy_browser_libraries):
        say("Browser libraries: all there")


def _copy_browser_libraries() -> None:
    say("Browser libraries: fetching")
    run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], LOG)
    vendor.copy_libraries(ROOT / "node_modules", ROOT / "static" / "vendor")


def compile_translations() -> None:
    """Every .po in locale/ that is newer than its .mo."""
    for source in ROOT.glob("locale/*/LC_MESSAGES/*.po"):
        compiled = source.with_suffix(".mo")
        if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
            say(f"Translations: compiling {source.relative_to(ROOT)}")
            run(["msgfmt", "-o", str(compiled), str(source)], LOG)


if __name__ == "__main__":
    sys.exit(main_of(main))
