"""`make doctor`: what this host lacks for VISA, in plain words, and how to mend it. Needs nothing but Python.

Exit code 1 when something is lacking without which VISA cannot run, else 0.
"""

import fcntl
import grp
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from deploy import hypervisor, install
from deploy.home import Home, free_network, pool_path, qemu_user, require_free, routes
from deploy.steps import Failed

GIB = 2**30
KVM_GET_API_VERSION = 0xAE00  # ioctl of /dev/kvm, linux/kvm.h
DISK_NEEDED = 12  # GiB: two images while one replaces the other, and some machines
MEMORY_NEEDED = 4  # GiB


@dataclass
class Finding:
    """What was looked at and found. `mend` says what to do about it; `fatal` that VISA cannot run before that."""

    good: bool
    text: str
    mend: str = ""
    fatal: bool = False


def main() -> int:
    findings = [finding for look in LOOKS for finding in look()]
    for finding in findings:
        mark = "ok   " if finding.good else ("LACKS" if finding.fatal else "note ")
        print(f"{mark}  {finding.text}")
        if not finding.good:
            print(f"       {finding.mend}")
    lacking = sum(finding.fatal and not finding.good for finding in findings)
    print(f"\n{'VISA can run here.' if not lacking else f'VISA cannot run here yet: see LACKS above ({lacking}).'}")
    return 1 if lacking else 0


def system() -> list[Finding]:
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    name = release.get("PRETTY_NAME", platform.platform())
    debian = release.get("ID") == "debian" and release.get("VERSION_ID") == "12"
    return [
        Finding(debian, f"System: {name}", "VISA is made for Debian 12; elsewhere install the packages by hand."),
        Finding(
            platform.machine() == "x86_64",
            f"Processor: {platform.machine()}, {os.cpu_count()} cores",
            "The desktop image is built for x86_64; use such a host.",
            fatal=True,
        ),
    ]


def administrator() -> list[Finding]:
    root = os.geteuid() == 0
    name = pwd.getpwuid(os.geteuid()).pw_name
    return [
        Finding(
            root or shutil.which("sudo") is not None,
            f"Administrator: {name}{'' if root else ', with sudo where root is needed'}",
            "Become root, or install sudo and put this user into the group sudo.",
            fatal=True,
        )
    ]


def packages() -> list[Finding]:
    try:
        missing = install.missing_packages(install.DEBIAN_RUN)
    except Failed as failure:
        return [Finding(False, "Debian packages", str(failure), fatal=True)]
    text = f"Debian packages: {len(missing)} are missing" if missing else "Debian packages: all there"
    return [Finding(not missing, text, f"`make run` installs them: {' '.join(missing)}")]


def acceleration() -> list[Finding]:
    slow = "Machines run without it, by emulation, ten times slower or more."
    if not hypervisor.KVM.exists():
        mend = "Switch on virtualisation in the firmware (in a cloud: nested virtualisation), then: modprobe kvm"
        return [Finding(False, "KVM: there is no /dev/kvm", f"{slow} {mend}")]
    try:
        with hypervisor.KVM.open("rb+", buffering=0) as kvm:
            version = fcntl.ioctl(kvm, KVM_GET_API_VERSION)
    except PermissionError:
        return [_kvm_for_qemu(Finding(True, "KVM: /dev/kvm is there; only QEMU's user may open it"))]
    except OSError as error:
        return [Finding(False, f"KVM: /dev/kvm does not work ({error.strerror})", slow)]
    return [_kvm_for_qemu(Finding(version == 12, f"KVM: usable (interface {version})", slow))]


def _kvm_for_qemu(otherwise: Finding) -> Finding:
    """/dev/kvm must be open to the user as whom libvirt runs QEMU, by its group or for all."""
    facts = hypervisor.KVM.stat()
    name = qemu_user()
    try:
        groups = os.getgrouplist(name, pwd.getpwnam(name).pw_gid)
    except KeyError:  # libvirt is not installed yet; its package makes the user
        return otherwise
    if name == "root" or facts.st_mode & 0o006 == 0o006 or (facts.st_mode & 0o060 == 0o060 and facts.st_gid in groups):
        return otherwise
    mend = "`make run` mends it where it starts libvirtd itself; else: chgrp kvm /dev/kvm; chmod 660 /dev/kvm"
    return Finding(False, f"KVM: {name}, as whom QEMU runs, may not open /dev/kvm", mend)


def libvirt() -> list[Finding]:
    answer = hypervisor.ask()
    mend = {
        hypervisor.Answer.YES: "",
        hypervisor.Answer.FORBIDDEN: "`make run` adds you to the group libvirt, or: sudo usermod -aG libvirt $USER",
        hypervisor.Answer.NO: "`make run` starts it, or: systemctl start libvirtd",
    }
    return [Finding(answer is hypervisor.Answer.YES, f"libvirt: {answer.value}", mend[answer]), *_groups()]


def _groups() -> list[Finding]:
    if os.geteuid() == 0:
        return []
    try:
        member = grp.getgrnam("libvirt").gr_gid in os.getgroups()
    except KeyError:  # comes with the package
        return []
    text = "Group libvirt: you are in it" if member else "Group libvirt: you are not in it in this session"
    return [Finding(member, text, "`make run` takes care of it, or: sudo usermod -aG libvirt $USER, and sign in anew")]


def port() -> list[Finding]:
    number = os.environ.get("VISA_PORT") or "8000"
    address = os.environ.get("VISA_BIND") or "127.0.0.1"
    try:
        require_free(address, int(number))
    except (Failed, ValueError, OverflowError):
        mend = f"VISA itself may be running. Else stop what listens there (ss -ltnp | grep {number}) or set VISA_PORT."
        return [Finding(False, f"Port {number} on {address} is not free", mend)]
    return [Finding(True, f"Port {number} on {address}: free")]


def disk() -> list[Finding]:
    home = Home.of_environment().path
    return [_room(where, path) for where, path in {"VISA_HOME": home, "machines' disks": pool_path_of(home)}.items()]


def pool_path_of(home: Path) -> Path:
    return pool_path(home) if home.exists() else home


def _room(what: str, path: Path) -> Finding:
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(there).free / GIB
    mend = f"About {DISK_NEEDED} GiB are wanted. Free some, or set VISA_HOME to a folder on a larger disk."
    return Finding(free >= DISK_NEEDED, f"Disk for {what} ({path}): {free:.0f} GiB free", mend, fatal=free < 4)


def memory() -> list[Finding]:
    facts = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE))
    total, free = (int(facts[name]) / 2**20 for name in ("MemTotal", "MemAvailable"))
    mend = f"VISA takes 1 GiB and each machine what its size says; {MEMORY_NEEDED} GiB free is a good start."
    return [Finding(free >= MEMORY_NEEDED, f"Memory: {free:.0f} of {total:.0f} GiB free", mend, fatal=total < 2)]


def clock() -> list[Finding]:
    """Sign-ins by other services and the shared deadlines of several hosts need a right clock."""
    this_year = time.gmtime().tm_year
    try:
        shown = subprocess.run(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True, check=False
        ).stdout.strip()
    except FileNotFoundError:
        shown = ""
    mend = "Install one that keeps it: apt-get install systemd-timesyncd (or chrony)"
    if shown != "yes" and not running() & {"chronyd", "ntpd", "systemd-timesyn"}:
        return [Finding(False, "Clock: nothing keeps it right", mend)]
    return [Finding(this_year >= 2026, "Clock: kept right", mend)]


def running() -> set[str]:
    """The short names of all processes (proc(5): comm, at most 15 characters)."""
    names = set()
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it ended meanwhile
            names.add(comm.read_text().strip())
    return names


def network() -> list[Finding]:
    """Machines need a network that this host is not on already, as it is when it is a guest of another VISA."""
    chosen = Home.of_environment().environment().get("VISA_NETWORK_CIDR")
    wanted = IPv4Network(chosen) if chosen else free_network()
    clashes = [
        f"{route} on {card}" for route, card in routes() if route.overlaps(wanted) and not card.startswith("visa")
    ]
    mend = "Choose another in the administration (Hosts), before the host's first machine."
    text = f"Network of the machines ({wanted}): {'taken by ' + ', '.join(clashes) if clashes else 'free'}"
    return [Finding(not clashes, text, mend)]


LOOKS: list[Callable[[], list[Finding]]] = [
    system,
    administrator,
    packages,
    acceleration,
    libvirt,
    port,
    disk,
    memory,
    clock,
    network,
]

if __name__ == "__main__":
    sys.exit(main())
