"""A throw-away machine: this system's files under an overlay and our own laid over them, in namespaces of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import wait_until

FILES = Path(__file__).parents[2] / "guest/files"
FULL = FILES.with_name("files-full")
LIBRARY = FILES / "usr/lib/visa"
OVERLAID = ("etc", "home", "var", "root")
# The VNC server's own tool is part of the image, not of this system: this double marks what it was given.
VNCPASSWD = '#!/bin/sh\n[ "$*" = -f ] || exit 9\nprintf "hidden:"\ncat\n'
SETUP = """
set -e
for name in etc home var; do
    mount -t overlay overlay -o "lowerdir=/$name,upperdir=$MACHINE/$name,workdir=$MACHINE/.$name" "/$name"
done
mount --bind "$MACHINE/run" /run
mount --bind "$MACHINE/tmp" /tmp
"""
PERSONALISE = SETUP + 'exec "$VISA_LIB/personalise"'
# sshd and the terminal as in the image, where systemd starts them. This project's Python, which may lie in root's home,
# stands for JupyterLab's.
SERVE = (
    """
mount -t overlay overlay -o "lowerdir=$MACHINE/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=/root,upperdir=$MACHINE/root,workdir=$MACHINE/.root" /root
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir /opt/jupyter
mount --bind "$PYTHON" /opt/jupyter
"""
    + SETUP
    + """
/usr/lib/visa/personalise
/usr/lib/visa/second-name
mkdir -p /run/sshd
account=$(cat /var/lib/visa/account)
. /run/visa/desktop.env
export LANG
(cd "/home/$account" && exec setpriv --reuid "$account" --regid "$account" --init-groups \
    env HOME="/home/$account" USER="$account" SHELL=/bin/bash \
    tmux -D -S /run/visa/user/terminal -f /usr/share/visa/tmux.conf) &
exec /usr/sbin/sshd -D -e -p "$PORT" -o ListenAddress=127.0.0.1 -o "Subsystem=sftp internal-sftp" \
    -f /etc/ssh/sshd_config.d/visa.conf
"""
)


@dataclass(frozen=True)
class Machine:
    """Folders `etc`, `home`, `var` show what was changed; `run` is the machine's whole /run."""

    folder: Path

    def personalise(self, document: dict[str, Any] | str) -> subprocess.CompletedProcess[str]:
        text = document if isinstance(document, str) else json.dumps(document)
        return subprocess.run(
            ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", PERSONALISE],
            input=text, text=True, capture_output=True, check=False, timeout=60, env=self.environment(),
        )  # fmt: skip

    @contextmanager
    def serving(self, document: dict[str, Any], port: int) -> Iterator[None]:
        """The machine's SSH server on loopback, with the owner's terminal behind it; its log is the file `log`."""
        for name in ("usr", "etc/ssh/sshd_config.d"):
            shutil.copytree(FILES / name, self.folder / name, dirs_exist_ok=True)
        shutil.copytree(FULL / "usr/lib/visa", self.folder / "usr/lib/visa", dirs_exist_ok=True)
        world = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*world, "sh", "-c", SERVE],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
                env=self.environment() | {"PORT": str(port), "PYTHON": sys.prefix},
            )  # fmt: skip
        assert process.stdin
        process.stdin.write(json.dumps(document).encode())
        process.stdin.close()
        try:
            wait_until(lambda: "Server listening" in self.read("log"), "sshd", 30)
            yield
        finally:
            process.kill()
            process.wait()

    def environment(self) -> dict[str, str]:
        path = "/run/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "VISA_LIB": "/run/lib", "MACHINE": str(self.folder)}

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def passwd(self, account: str) -> list[str]:
        """The seven fields of the account's line."""
        lines = self.read("etc/passwd").splitlines()
        return next(line.split(":") for line in lines if line.startswith(f"{account}:"))

    def mode(self, name: str) -> str:
        return oct((self.folder / name).stat().st_mode & 0o777)

    def snapshot(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Every changed file with owner, mode and content."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and ".etc" not in path.parts:
                facts = path.stat()
                name = str(path.relative_to(self.folder))
                found[name] = (facts.st_uid, facts.st_gid, facts.st_mode, path.read_bytes())
        return found


def new_machine(folder: Path) -> Machine:
    for name in OVERLAID:
        (folder / name).mkdir()
        (folder / f".{name}").mkdir()
    for name in ("run", "run/bin", "run/visa-busy", "tmp"):
        (folder / name).mkdir()
    (folder / "run/visa-busy").chmod(0o1777)
    # A copy, as what is mounted over /run and /tmp may hide the place where this project lies.
    shutil.copytree(LIBRARY, folder / "run/lib")
    vncpasswd = folder / "run/bin/vncpasswd"
    vncpasswd.write_text(VNCPASSWD)
    vncpasswd.chmod(0o755)
    os.chmod(folder, 0o755)  # noqa: S103 - the account under test must reach its home
    return Machine(folder)
