"""Names of volumes, and the images that are refused."""

import dataclasses
import json
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from instances.drivers.base import BaseImage, DriverError
from instances.drivers.storage import MAGIC, base_name, body, check_image, disk_name, is_base, machine_of, seed_name
from tests.instances.drivers.machines import blank_image


def qemu_img(*words: object) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def image(path: Path) -> BaseImage:
    return BaseImage(str(path), "0" * 64, 1)


def test_a_volume_says_whose_it_is() -> None:
    uuid = uuid4()
    assert machine_of(disk_name(uuid)) == machine_of(seed_name(uuid)) == uuid
    assert machine_of("visa-etc-passwd.qcow2") is None
    assert is_base(base_name(image(Path("x"))))
    assert not is_base(disk_name(uuid))


def test_a_sound_image_is_accepted(tmp_path: Path) -> None:
    check_image(blank_image(tmp_path / "sound.qcow2"))


def refusal(base: BaseImage) -> str:
    with pytest.raises(DriverError) as raised:
        check_image(base)
    assert raised.value.permanent
    return str(raised.value)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    assert "cannot be read where VISA runs.\ngone.qcow2" in refusal(image(tmp_path / "gone.qcow2"))


@pytest.mark.parametrize("kind", ["raw", "vmdk", "vdi"])
def test_another_format_is_refused(tmp_path: Path, kind: str) -> None:
    qemu_img("create", "-f", kind, tmp_path / "disk", "1M")
    assert "is not a qcow2 file" in refusal(image(tmp_path / "disk"))


def test_an_image_with_a_backing_file_is_refused(tmp_path: Path) -> None:
    blank_image(tmp_path / "below.qcow2")
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", tmp_path / "below.qcow2", tmp_path / "above.qcow2")
    assert "is built on another file" in refusal(image(tmp_path / "above.qcow2"))


def test_an_image_with_a_data_file_is_refused(tmp_path: Path) -> None:
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'outside'}", tmp_path / "disk.qcow2", "1M")
    assert "keeps its data in another file" in refusal(image(tmp_path / "disk.qcow2"))


def test_an_image_larger_than_registered_is_refused(tmp_path: Path) -> None:
    large = blank_image(tmp_path / "large.qcow2", size_gib=2)
    assert "larger than it was registered" in refusal(dataclasses.replace(large, virtual_size_gib=1))


def test_a_broken_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.qcow2").write_bytes(b"QFI\xfb" + b"\xff" * 4096)
    assert "is not a sound qcow2 file" in refusal(image(tmp_path / "broken.qcow2"))


def test_a_name_like_an_option_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_image(dataclasses.replace(blank_image(tmp_path / "--help"), path="--help"))


@pytest.mark.parametrize("folder", ["b", "a-much-longer-folder-than-before"])
def test_an_overlay_finds_its_base_at_another_path(tmp_path: Path, folder: str) -> None:
    old, new = tmp_path / "base.qcow2", tmp_path / folder / "base.qcow2"
    new.parent.mkdir()
    blank_image(old)
    blank_image(new)
    qemu_img("create", "-f", "qcow2", "-b", old, "-F", "qcow2", tmp_path / "overlay.qcow2")
    bytes_of = (tmp_path / "overlay.qcow2").read_bytes()
    moved = tmp_path / "moved.qcow2"
    moved.write_bytes(MAGIC + b"".join(body([bytes_of[:1000], bytes_of[1000:]], str(new))))
    assert moved.stat().st_size == len(bytes_of)
    described = subprocess.run(["qemu-img", "info", "--output=json", moved], check=True, capture_output=True).stdout
    assert json.loads(described)["backing-filename"] == str(new)
    qemu_img("check", moved)


@pytest.mark.parametrize("head", [b"", b"QFI\xfb" + bytes(70_000), b"raw" + bytes(70_000)])
def test_what_is_no_overlay_is_refused(head: bytes) -> None:
    with pytest.raises(DriverError, match="does not stand on an image") as raised:
        list(body([head], "/base.qcow2"))
    assert raised.value.permanent
