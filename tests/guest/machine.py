"""A throw-away machine for `personalise`: this system's files under an overlay, in namespaces of its own."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[2] / "guest/files/usr/lib/visa"
OVERLAID = ("etc", "home", "var")
# The VNC server's own tool is part of the image, not of this system: this double marks what it was given.
VNCPASSWD = '#!/bin/sh\n[ "$*" = -f ] || exit 9\nprintf "hidden:"\ncat\n'
SETUP = """
set -e
for name in etc home var; do
    mount -t overlay overlay -o "lowerdir=/$name,upperdir=$MACHINE/$name,workdir=$MACHINE/.$name" "/$name"
done
mount --bind "$MACHINE/run" /run
mount --bind "$MACHINE/tmp" /tmp
exec "$VISA_LIB/personalise"
"""


@dataclass(frozen=True)
class Machine:
    """Folders `etc`, `home`, `var` show what was changed; `run` is the machine's whole /run."""

    folder: Path

    def personalise(self, document: dict[str, Any] | str) -> subprocess.CompletedProcess[str]:
        text = document if isinstance(document, str) else json.dumps(document)
        return subprocess.run(
            ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", SETUP],
            input=text, text=True, capture_output=True, check=False, timeout=60, env=self.environment(),
        )  # fmt: skip

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
    for name in ("run", "run/bin", "tmp"):
        (folder / name).mkdir()
    # A copy, as what is mounted over /run and /tmp may hide the place where this project lies.
    shutil.copytree(LIBRARY, folder / "run/lib")
    vncpasswd = folder / "run/bin/vncpasswd"
    vncpasswd.write_text(VNCPASSWD)
    vncpasswd.chmod(0o755)
    os.chmod(folder, 0o755)  # noqa: S103 - the account under test must reach its home
    return Machine(folder)
