"""libvirt on this host: found, or started when nothing runs it, and open to the user who runs VISA."""

import filecmp
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path

from deploy.steps import ROOT, Failed, as_root, say

# The one daemon of Debian 12, and the one for QEMU alone where the daemons are split.
SOCKETS = [Path("/run/libvirt/libvirt-sock"), Path("/run/libvirt/virtqemud-sock")]
DAEMONS = ["virtlogd", "libvirtd"]
KVM = Path("/dev/kvm")
HOOK = Path("/etc/libvirt/hooks/network.d/visa")


class Answer(Enum):
    YES = "libvirt answers"
    FORBIDDEN = "libvirt runs, but this user may not speak to it"
    NO = "libvirt does not run"


def ask() -> Answer:
    answers = [_ask(path) for path in SOCKETS]
    answer = next((answer for answer in (Answer.YES, Answer.FORBIDDEN) if answer in answers), Answer.NO)
    return Answer.FORBIDDEN if answer is Answer.YES and not _lets_us_in() else answer


def _lets_us_in() -> bool:
    """Whether libvirt, whose socket may be open to all, takes orders from this user (polkit: the group libvirt)."""
    if os.geteuid() == 0 or shutil.which("virsh") is None:
        return True
    question = ["virsh", "-q", "-c", "qemu:///system", "uri"]
    return subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _ask(path: Path) -> Answer:
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(5)
        try:
            trial.connect(str(path))
        except PermissionError:
            return Answer.FORBIDDEN
        except OSError:
            return Answer.NO
    return Answer.YES


def prepare(run_folder: Path) -> dict[str, list[str]]:
    """Makes libvirt answer. What must be run for that beside Redis, by name: nothing where the host runs it itself.

    `run_folder` is for a file of settings. Raises Failed with what to do when it is not in our power.
    """
    install_hook()
    answer = ask()
    if answer is Answer.NO and not Path("/run/systemd/system").is_dir():
        open_kvm()
        if os.geteuid() == 0:
            say("libvirt: nothing runs it; starting virtlogd and libvirtd")
            return {name: [daemon(name)] for name in DAEMONS}
        start_for_all(run_folder)
        answer = _wait_for_an_answer()
    elif answer is Answer.NO:
        say("libvirt: starting the host's libvirtd")
        subprocess.run(as_root(["systemctl", "start", "libvirtd"]), check=False)
        answer = _wait_for_an_answer()
    if answer is Answer.FORBIDDEN:
        _join_the_group()
    if answer is Answer.NO:
        raise Failed("libvirt could not be started; `make doctor` may say why.")
    say("libvirt: answers")
    return {}


def start_for_all(run_folder: Path) -> None:
    """As another user than root: the daemons are the host's, started with sudo, and stay when VISA stops.

    Without systemd there is no polkit to ask who is in the group libvirt, so the socket belongs to the group.
    """
    say("libvirt: nothing runs it; starting virtlogd and libvirtd for this host, where they stay")
    settings = run_folder / "libvirtd.conf"
    settings.write_text('auth_unix_rw = "none"\nunix_sock_group = "libvirt"\nunix_sock_rw_perms = "0770"\n')
    for command in ([daemon("virtlogd"), "-d"], [daemon("libvirtd"), "-d", "--config", str(settings)]):
        subprocess.run(as_root(command), check=False)


def install_hook() -> None:
    """Puts our guard of the host's network where libvirt looks for it, unless this very one is there."""
    ours = ROOT / "deploy" / "host" / "visa-network"
    if HOOK.is_file() and filecmp.cmp(ours, HOOK, shallow=False):
        return
    say(f"libvirt: installing {HOOK}, which keeps machines away from this host's services")
    if subprocess.run(as_root([str(ROOT / "deploy" / "host" / "install")]), check=False).returncode:
        raise Failed("The network hook for libvirt could not be installed; the lines above say why.")


def daemon(name: str) -> str:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or name


def _wait_for_an_answer(patience: float = 30.0) -> Answer:
    deadline = time.monotonic() + patience
    while (answer := ask()) is Answer.NO and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def wait_until_ready(patience: float = 60.0) -> None:
    """Waits for the first real answer of qemu:///system: libvirtd looks at QEMU's capabilities first. Raises Failed."""
    deadline = time.monotonic() + patience
    question = ["virsh", "-c", "qemu:///system", "domcapabilities", "--virttype", "qemu"]
    while subprocess.run(question, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise Failed("libvirt was started but does not answer on qemu:///system. `make doctor` may say why.")
        time.sleep(0.5)


def open_kvm() -> None:
    """Gives /dev/kvm to the group kvm, as udev does on Debian. Where nobody did and QEMU's user cannot open it, libvirt
    looks at QEMU's capabilities anew before every answer, four seconds each time."""
    if not KVM.exists() or KVM.stat().st_mode & stat.S_IWGRP:
        return
    for command in (["chgrp", "kvm", str(KVM)], ["chmod", "660", str(KVM)]):
        if subprocess.run(as_root(command), check=False).returncode:
            say("libvirt: /dev/kvm stays as it is, for root alone; machines may start slowly")


def _join_the_group() -> None:
    """Puts the user into the group libvirt and starts this program again with it; a new sign-in is not needed."""
    name = pwd.getpwuid(os.getuid()).pw_name
    if os.environ.get("VISA_JOINED_LIBVIRT"):
        raise Failed(f"{name} is in the group libvirt now, but libvirt still refuses. Sign out and in, then try again.")
    say(f"libvirt: adding {name} to the group libvirt, which may use this host's machines")
    subprocess.run(as_root(["usermod", "--append", "--groups", "libvirt", name]), check=True)
    os.environ["VISA_JOINED_LIBVIRT"] = "1"
    os.execvp("sg", ["sg", "libvirt", "-c", shlex.join([sys.executable, "-m", "deploy.run"])])  # noqa: S606
