"""Pure: a machine's facts to the NoCloud seed that its first boot reads.

The seed is an ISO 9660 image labelled `cidata` (https://cloudinit.readthedocs.io, NoCloud) with `meta-data`,
`user-data` and `network-config`, and beside them `visa.json`, from which a guest without cloud-init reads the same
facts.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pycdlib
import yaml

from instances.drivers.base import InstanceSpec, Persona
from instances.drivers.domain import mac_address

DOCUMENT_PATH = "/etc/visa/visa.json"
PERSONALISE = "/usr/lib/visa/personalise"


def persona_document(persona: Persona) -> dict[str, Any]:
    """The one JSON document that `personalise` in the guest turns into an account, a desktop and its services."""
    return {
        "hostname": persona.hostname,
        "account": persona.account,
        "full_name": persona.full_name,
        "uid": persona.uid,
        "gid": persona.gid,
        "screen": {"width": persona.screen_width, "height": persona.screen_height},
        "keyboard": persona.keyboard,
        "timezone": persona.timezone,
        "language": persona.language,
        "vnc_password": persona.vnc_password,
        "jupyter_token": persona.jupyter_token,
        "ssh_keys": list(persona.ssh_keys),
        "ssh_authority": persona.ssh_authority,
        "ssh_host_key": persona.ssh_host_key,
        "boot_commands": persona.boot_commands,
    }


def seed_documents(spec: InstanceSpec) -> dict[str, str]:
    """The seed's files by name."""
    document = json.dumps(persona_document(spec.persona), indent=1)
    return {
        "meta-data": _yaml({"instance-id": f"{spec.uuid}-{spec.generation}", "local-hostname": spec.persona.hostname}),
        "user-data": "#cloud-config\n" + _yaml(_user_data(document)),
        "network-config": _yaml(_network_config(spec)),
        "visa.json": document,
    }


def seed_iso(spec: InstanceSpec) -> bytes:
    """The seed as an ISO 9660 image with Joliet and Rock Ridge names; it holds secrets of the machine."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="cidata", joliet=3, rock_ridge="1.09")
    for number, (name, text) in enumerate(seed_documents(spec).items()):
        content = text.encode()
        iso.add_fp(
            BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=0o100400,
        )
    image = BytesIO()
    iso.write_fp(image)
    iso.close()
    return image.getvalue()


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=False)


def _user_data(document: str) -> dict[str, Any]:
    return {
        # The account is personalise's work, so that a machine can change hands after its first boot.
        "users": [],
        "ssh_pwauth": False,
        "write_files": [{"path": DOCUMENT_PATH, "owner": "root:root", "permissions": "0600", "content": document}],
        "runcmd": [["sh", "-c", f"test ! -x {PERSONALISE} || exec {PERSONALISE}"]],
    }


def _network_config(spec: InstanceSpec) -> dict[str, Any]:
    card = {"match": {"macaddress": mac_address(spec.uuid)}, "dhcp4": True, "dhcp6": False}
    return {"version": 2, "ethernets": {"primary": card}}
