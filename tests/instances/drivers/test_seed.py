"""The seed: read back as a guest reads it."""

import dataclasses
import json
from io import BytesIO
from uuid import UUID

import pycdlib
import pytest
import yaml

from instances.drivers.base import BaseImage, InstanceSpec
from instances.drivers.domain import mac_address
from instances.drivers.seed import persona_document, seed_documents, seed_iso
from tests.instances.drivers.machines import PERSONA, a_spec

SPEC = a_spec(BaseImage("/x", "0" * 64, 1), UUID("11111111-2222-4333-8444-555555555555"), generation=3)

HOSTILE = [
    "quote ' double \" back \\ slash",
    "colon: dash - hash # brace {a: b} [c]",
    "lines\nruncmd:\n  - reboot\n",
    "$(reboot) `id` ${PATH}",
    "!!python/object/apply:os.system ['id']",
    "éèü 実験 🧪",
    "\x00\x1b\x7f",
    "---\n...\n%YAML 1.1",
    "",
]


def files(spec: InstanceSpec) -> dict[str, str]:
    """By their Joliet names, which is what Linux falls back to; the Rock Ridge names must be the same."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(seed_iso(spec)))
    assert iso.pvd.volume_identifier.decode().strip() == "cidata"
    found = {}
    for child in iso.list_children(joliet_path="/"):
        if child.is_file():
            name = child.file_identifier().decode("utf-16-be")
            content = BytesIO()
            iso.get_file_from_iso_fp(content, joliet_path=f"/{name}")
            found[name] = content.getvalue().decode()
    rock_ridge = {child.rock_ridge.name().decode() for child in iso.list_children(rr_path="/") if child.is_file()}
    assert rock_ridge == set(found)
    iso.close()
    return found


def test_the_seed_holds_what_cloud_init_and_our_own_reader_look_for() -> None:
    assert files(SPEC) == seed_documents(SPEC)
    assert set(files(SPEC)) == {"meta-data", "user-data", "network-config", "visa.json"}


def test_a_new_generation_is_a_new_machine_to_the_guest() -> None:
    meta = yaml.safe_load(seed_documents(SPEC)["meta-data"])
    assert meta == {"instance-id": "11111111-2222-4333-8444-555555555555-3", "local-hostname": "lyrebird"}


def test_the_network_is_found_by_its_address_and_asks_for_dhcp() -> None:
    (card,) = yaml.safe_load(seed_documents(SPEC)["network-config"])["ethernets"].values()
    assert card["match"] == {"macaddress": mac_address(SPEC.uuid)}
    assert card["dhcp4"] is True


def test_cloud_init_writes_the_document_for_root_alone() -> None:
    text = seed_documents(SPEC)["user-data"]
    assert text.startswith("#cloud-config\n")
    (written,) = yaml.safe_load(text)["write_files"]
    assert (written["path"], written["permissions"]) == ("/etc/visa/visa.json", "0600")
    assert json.loads(written["content"]) == persona_document(PERSONA)


def test_the_document_has_the_agreed_shape() -> None:
    assert persona_document(PERSONA) == {
        "hostname": "lyrebird",
        "account": "alice",
        "full_name": "Alice Martin",
        "uid": 12001,
        "gid": 12001,
        "screen": {"width": 1280, "height": 800},
        "keyboard": "fr",
        "timezone": "Europe/Paris",
        "language": "fr_FR.UTF-8",
        "vnc_password": "vnc-pass",
        "jupyter_token": "jupyter-token",
        "ssh_keys": ["ssh-ed25519 AAAAC3Nz alice@desk"],
        "ssh_authority": "ssh-ed25519 AAAAC3Authority",
        "ssh_host_key": "the machine's private key",
        "boot_commands": "echo hello\n",
    }


@pytest.mark.parametrize("word", HOSTILE)
def test_any_word_arrives_as_it_was_typed(word: str) -> None:
    spec = dataclasses.replace(SPEC, persona=dataclasses.replace(PERSONA, full_name=word, boot_commands=word))
    documents = seed_documents(spec)
    configuration = yaml.safe_load(documents["user-data"])
    for document in (documents["visa.json"], configuration["write_files"][0]["content"]):
        assert json.loads(document)["full_name"] == word
        assert json.loads(document)["boot_commands"] == word
    assert len(configuration["runcmd"]) == 1


def test_the_same_machine_has_the_same_seed() -> None:
    assert files(SPEC) == files(dataclasses.replace(SPEC))
