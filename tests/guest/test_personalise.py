"""The script that makes a machine its owner's, run whole on an overlay of this system."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.guest.machine import Machine, new_machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes accounts in namespaces, which only root may")

HOST_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----\n"
MARIE: dict[str, Any] = {
    "hostname": "exp-42",
    "account": "mcurie",
    "full_name": "Marie Skłodowska-Curie",
    "uid": 43210,
    "gid": 43211,
    "screen": {"width": 1920, "height": 1080},
    "keyboard": "ch(fr)",
    "timezone": "Europe/Paris",
    "language": "fr",
    "vnc_password": "s3cr3tpw",
    "jupyter_token": "a-long-enough-token",
    "ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGt marie@radium"],
    "boot_commands": "echo 'hello' > /root/said",
    "ssh_authority": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOuR",
    "ssh_host_key": HOST_KEY,
}
NAMES = [
    ('O\'Brien "the" $(touch /tmp/owned) `id`', 'O\'Brien "the" $(touch /tmp/owned) `id`'),
    ("-c evil\nroot:x:0:0::/root:/bin/sh", "-c evil root x 0 0 /root /bin/sh"),
    ("Zoë 李 🧪", "Zoë 李 🧪"),
    ("", ""),
]
ACCOUNTS = [
    ("-o", "o"),
    ("Élodie O'Brien", "lodie-o-brien"),
    ("x; touch /tmp/owned", "x-touch-tmp-owned"),
    ("a\nroot", "a-root"),
    ("../../etc", "etc"),
    ("root", "root-visa"),
    ("", "visa"),
    ("a" * 80, "a" * 32),
]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


def settled(machine: Machine, **changes: Any) -> Machine:
    done = machine.personalise({**MARIE, **changes})
    assert done.returncode == 0, done.stderr
    return machine


def test_the_account_carries_the_owners_name_and_numbers(machine: Machine) -> None:
    settled(machine)
    assert machine.passwd("mcurie")[2:] == ["43210", "43211", "Marie Skłodowska-Curie", "/home/mcurie", "/bin/bash"]
    home = (machine.folder / "home/mcurie").stat()
    assert (home.st_uid, home.st_gid) == (43210, 43211)


def test_the_machine_takes_its_name_language_time_and_screen(machine: Machine) -> None:
    settled(machine)
    assert machine.read("etc/hostname") == "exp-42\n"
    assert "127.0.1.1 exp-42\n" in machine.read("etc/hosts")
    assert machine.read("etc/default/locale") == "LANG=fr_FR.UTF-8\n"
    assert (machine.folder / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Europe/Paris")
    assert "GEOMETRY=1920x1080\n" in machine.read("run/visa/desktop.env")


def test_secrets_belong_to_their_reader_alone(machine: Machine) -> None:
    settled(machine)
    assert machine.read("run/visa/vnc-password") == "hidden:s3cr3tpw\n"
    assert machine.read("run/visa/jupyter-token") == "a-long-enough-token\n"
    for name, owner in [("run/visa/vnc-password", 43210), ("run/visa/jupyter-token", 43210), ("etc/visa/visa.json", 0)]:
        assert (machine.mode(name), (machine.folder / name).stat().st_uid) == ("0o600", owner)


def test_nothing_readable_by_others_holds_a_secret(machine: Machine) -> None:
    settled(machine)
    for name, (_, _, mode, content) in machine.snapshot().items():
        if b"s3cr3tpw" in content or b"a-long-enough-token" in content:
            assert mode & 0o077 == 0, name


def test_the_same_document_twice_changes_nothing(machine: Machine) -> None:
    before = settled(machine).snapshot()
    assert settled(machine).snapshot() == before


@pytest.mark.parametrize(("given", "kept"), NAMES)
def test_a_strange_full_name_is_only_text(machine: Machine, given: str, kept: str) -> None:
    settled(machine, full_name=given)
    assert machine.passwd("mcurie")[4] == kept
    assert machine.read("etc/passwd").count(":0:0:") == Path("/etc/passwd").read_text().count(":0:0:")
    assert not (machine.folder / "tmp/owned").exists()


@pytest.mark.parametrize(("given", "kept"), ACCOUNTS)
def test_a_strange_account_becomes_a_plain_one(machine: Machine, given: str, kept: str) -> None:
    settled(machine, account=given)
    assert machine.passwd(kept)[2] == "43210"
    assert machine.passwd("root")[2:4] == ["0", "0"]
    assert not (machine.folder / "tmp/owned").exists()


def test_a_strange_host_name_becomes_a_plain_one(machine: Machine) -> None:
    settled(machine, hostname="-Été d'Alice\n127.0.0.1 evil")
    assert machine.read("etc/hostname") == "t-d-alice-127-0-0-1-evil\n"


@pytest.mark.parametrize(
    "strange",
    [
        {"keyboard": "us; touch /tmp/owned"},
        {"keyboard": "../../../etc/passwd"},
        {"timezone": "../../../etc/shadow"},
        {"timezone": "Mars/Olympus"},
        {"screen": {"width": "1; touch /tmp/owned", "height": -1}},
        {"screen": None},
        {"language": ["fr"]},
        {"vnc_password": "'; touch /tmp/owned; '"},
        {"jupyter_token": "$(touch /tmp/owned)"},
        {"boot_commands": None},
        {"ssh_keys": "none"},
        {"uid": "0", "gid": 0},
        {"uid": 1e300, "gid": "x"},
    ],
)
def test_a_strange_value_neither_runs_nor_stops_the_desktop(machine: Machine, strange: dict[str, Any]) -> None:
    settled(machine, **strange)
    assert int(machine.passwd("mcurie")[2]) >= 500
    assert not (machine.folder / "tmp/owned").exists()
    assert (machine.folder / "run/visa/desktop.env").exists()


def test_a_number_that_the_system_holds_is_not_given_away(machine: Machine) -> None:
    done = machine.personalise({**MARIE, "uid": 65534})
    assert "uid 65534 belongs to nobody" in done.stderr
    assert machine.passwd("mcurie")[2] != "65534"


def test_only_plain_public_keys_open_the_machine(machine: Machine) -> None:
    good = "ssh-rsa AAAAB3NzaC1yc2E= marie curie"
    settled(machine, ssh_keys=[good, 'command="id" ssh-rsa AAAA', "ssh-rsa AAAA\nssh-rsa BBBB", "-", 7, None])
    assert machine.read("etc/ssh/authorized_keys.d/mcurie") == good + "\n"


def test_certificates_of_one_authority_open_the_machine_and_it_is_known_by_its_key(machine: Machine) -> None:
    settled(machine)
    assert machine.read("etc/ssh/visa_authority.pub") == MARIE["ssh_authority"] + "\n"
    assert machine.read("etc/ssh/ssh_host_ed25519_key") == HOST_KEY
    assert machine.mode("etc/ssh/ssh_host_ed25519_key") == "0o600"


@pytest.mark.parametrize(
    "strange", ['cert-authority,command="id" ssh-ed25519 AAAA', "ssh-ed25519 AAAA\nssh-rsa BBBB", 7]
)
def test_a_strange_authority_opens_nothing(machine: Machine, strange: Any) -> None:
    settled(machine, ssh_authority=strange, ssh_host_key=strange)
    assert machine.read("etc/ssh/visa_authority.pub") == "\n"
    assert not (machine.folder / "etc/ssh/ssh_host_ed25519_key").exists()


def test_changed_facts_change_the_machine_and_keep_the_home(machine: Machine) -> None:
    settled(machine)
    (machine.folder / "home/mcurie/thesis").write_text("radium")
    settled(machine, account="pcurie", full_name="Pierre Curie", hostname="exp-43", vnc_password="another1")
    assert machine.passwd("pcurie")[2:6] == ["43210", "43211", "Pierre Curie", "/home/pcurie"]
    assert "\nmcurie:" not in machine.read("etc/passwd")
    assert machine.read("home/pcurie/thesis") == "radium"
    assert machine.read("run/visa/vnc-password") == "hidden:another1\n"
    assert machine.read("etc/hostname") == "exp-43\n"


def test_changed_numbers_take_the_files_along(machine: Machine) -> None:
    settled(machine)
    settled(machine, uid=50001, gid=50002)
    assert machine.passwd("mcurie")[2:4] == ["50001", "50002"]
    assert (machine.folder / "home/mcurie/.bashrc").stat().st_uid == 50001


def test_boot_commands_wait_as_roots_own_file(machine: Machine) -> None:
    settled(machine, boot_commands="cat <<'X'\nit's \"$HOME\"\nX")
    assert machine.read("var/lib/visa/boot-commands") == "cat <<'X'\nit's \"$HOME\"\nX\n"
    assert machine.mode("var/lib/visa/boot-commands") == "0o600"
    settled(machine, boot_commands="")
    assert not (machine.folder / "var/lib/visa/boot-commands").is_file()


@pytest.mark.parametrize("broken", ["{", "[]", '"text"', "null"])
def test_a_broken_document_changes_nothing(machine: Machine, broken: str) -> None:
    before = settled(machine).snapshot()
    done = machine.personalise(broken)
    assert done.returncode == 2
    assert "nothing was changed" in done.stderr
    assert machine.snapshot() == before


def test_without_a_document_the_last_one_is_applied(machine: Machine) -> None:
    before = settled(machine).snapshot()
    (machine.folder / "run/visa/vnc-password").unlink()
    assert machine.personalise("").returncode == 0
    assert machine.snapshot() == before


def test_without_any_document_nothing_is_changed(machine: Machine) -> None:
    assert machine.personalise("").returncode == 2
    assert not (machine.folder / "etc/passwd").exists()
