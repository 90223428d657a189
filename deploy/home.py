"""VISA_HOME: the one folder that an installation writes, the claim on it, and the secrets in its .env."""

import fcntl
import hashlib
import os
import pwd
import re
import secrets
import socket
import stat
import uuid
from ipaddress import IPv4Network
from pathlib import Path
from typing import IO

from deploy.steps import ROOT, Failed

LONGEST_SOCKET = 107  # bytes: sun_path of unix(7), without its final zero
LONGEST_NAME = len("/supervisor.sock.1234567")  # the longest name that is made in run/
QEMU_CONF = Path("/etc/libvirt/qemu.conf")
POOLS = Path("/var/lib/libvirt/images")
NETWORKS = IPv4Network("10.213.0.0/16")  # one of its sixteen parts for the machines of one installation


class Home:
    """The folders of one installation. Paths are absolute; creating it makes the folders, for the owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.run = self.path / "run"
        self.log = self.path / "log"
        self.images = self.path / "images"
        self.environment_file = self.path / ".env"

    @classmethod
    def of_environment(cls) -> "Home":
        return cls(Path(os.environ.get("VISA_HOME") or ROOT / "var"))

    def make(self) -> None:
        if len(os.fsencode(self.run)) + LONGEST_NAME > LONGEST_SOCKET:
            raise Failed(f"The path of VISA_HOME is too long for unix sockets: {self.path}. Choose a shorter one.")
        if "%" in str(self.path):  # supervisor gives it a meaning
            raise Failed(f"VISA_HOME cannot have a percent sign in its path: {self.path}.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for folder in (self.run, self.log):
                folder.mkdir(mode=0o700, exist_ok=True)
            self.images.mkdir(exist_ok=True)
        except OSError as error:
            raise Failed(f"VISA_HOME cannot be written: {self.path} ({error.strerror}).") from None

    def claim(self) -> IO[str]:
        """A lock that lasts while the returned file is open, here or in a child. Raises Failed when it is taken."""
        lock = (self.run / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(
                f"VISA already runs with VISA_HOME={self.path}. Stop it there with Ctrl-C, or give this one "
                "another VISA_HOME and VISA_PORT."
            ) from None
        return lock

    def write_secrets(self) -> None:
        """Adds to .env what it lacks; what is there stays: secrets last as long as the database they protect."""
        known = self.environment()
        fresh = {
            "VISA_SECRET_KEY": secrets.token_urlsafe(50),
            "VISA_ENCRYPTION_KEYS": secrets.token_urlsafe(50),
            "VISA_DEPLOYMENT": str(uuid.uuid4()),
            # Names of its own on the host: two installations there keep out of each other's way.
            "VISA_POOL_NAME": f"visa-{mark_of(self.path)}",
            "VISA_POOL_PATH": str(pool_path(self.path)),
            "VISA_NETWORK_NAME": f"visa-{mark_of(self.path)}",
            "VISA_NETWORK_CIDR": str(free_network()),
        }
        missing = [f"{name}={value}\n" for name, value in fresh.items() if name not in known]
        with open(self.environment_file, "a", opener=_for_the_owner) as file:
            file.writelines(missing)

    def environment(self) -> dict[str, str]:
        if not self.environment_file.exists():
            return {}
        lines = self.environment_file.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def require_free(address: str, port: int) -> None:
    """Raises Failed when something listens on the port already."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, port))
        except OSError as error:
            raise Failed(
                f"Port {port} on {address} cannot be used ({error.strerror}). Stop what uses it, or choose another: "
                f"VISA_PORT={port + 1} make run"
            ) from None


def pool_path(home: Path) -> Path:
    """Where machines' disks go: in VISA_HOME when QEMU's user may pass through all its parents, else with libvirt's."""
    if qemu_user() == "root" or all(_passable(parent) for parent in (home, *home.parents)):
        return home / "pool"
    return POOLS / f"visa-{mark_of(home)}"


def mark_of(home: Path) -> str:
    """A short name for this VISA_HOME, the same each time."""
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:6]


def free_network() -> IPv4Network:
    """The first of NETWORKS that no route of this host touches; the very first when all are taken."""
    taken = [route for route, card in routes()]
    parts = list(NETWORKS.subnets(new_prefix=20))
    return next((part for part in parts if not any(part.overlaps(route) for route in taken)), parts[0])


def routes() -> list[tuple[IPv4Network, str]]:
    """The networks that this host is on, each with its interface (/proc/net/route: hexadecimal, little-endian)."""
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    return [(_network(row[1], row[7]), row[0]) for row in rows if int(row[7], 16)]


def _network(address: str, mask: str) -> IPv4Network:
    words = [int.from_bytes(int(word, 16).to_bytes(4, "little"), "big") for word in (address, mask)]
    return IPv4Network((words[0], f"{words[1].bit_count()}"))


def qemu_user() -> str:
    """The account that libvirt gives QEMU (`user` in qemu.conf; Debian's default is libvirt-qemu)."""
    try:
        named = re.findall(r'^\s*user\s*=\s*"\+?([^"]+)"', QEMU_CONF.read_text(), re.MULTILINE)
    except OSError:  # only root may read it on some hosts
        named = []
    user = named[-1] if named else "libvirt-qemu"
    return pwd.getpwuid(int(user)).pw_name if user.isdigit() else user


def _passable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)
