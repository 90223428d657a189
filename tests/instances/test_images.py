"""Image files as they come: good ones, and those that would let a machine read its host's files (SEC-20)."""

import os
import struct
import subprocess
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from instances.images import MAX_VIRTUAL_GIB, ImageRefused, checksum, inspect_image
from instances.models import Image, Protocol


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.qcow2"
    qemu_img("create", "-f", "qcow2", file, "1500M")
    return file


def patch(file: Path, offset: int, form: str, value: int) -> None:
    with file.open("r+b") as disk:
        disk.seek(offset)
        disk.write(struct.pack(form, value))


def test_a_good_image_is_measured_and_hashed(good: Path) -> None:
    facts = inspect_image(str(good))
    assert facts.virtual_size_gib == 2
    assert facts.size_bytes == good.stat().st_size
    assert facts.sha256 == subprocess.check_output(["sha256sum", good], text=True).split()[0] == checksum(str(good))


def test_an_image_in_use_by_a_writer_can_still_be_inspected(good: Path) -> None:
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(good)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("length\n")
        holder.stdin.flush()
        holder.stdout.readline()  # the file is open, and locked, from here
        assert inspect_image(str(good)).virtual_size_gib == 2
        holder.stdin.write("quit\n")


def test_a_backing_file_is_refused(good: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", good, "-F", "qcow2", overlay)
    with pytest.raises(ImageRefused, match="builds on another file"):
        inspect_image(str(overlay))


def test_a_backing_file_of_the_host_is_refused(tmp_path: Path) -> None:
    thief = tmp_path / "thief.qcow2"
    qemu_img("create", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", thief, "1G")
    with pytest.raises(ImageRefused, match="builds on another file"):
        inspect_image(str(thief))


def test_an_external_data_file_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "split.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data.raw,data_file_raw=on", image, "1G")
    with pytest.raises(ImageRefused, match="keeps its data in another file"):
        inspect_image(str(image))


@pytest.mark.parametrize("other", ["raw", "vmdk", "vdi", "qed"])
def test_other_formats_are_refused_with_the_way_to_convert(other: str, tmp_path: Path) -> None:
    image = tmp_path / "named.qcow2"
    qemu_img("create", "-f", other, image, "1G")
    with pytest.raises(ImageRefused, match="qemu-img convert"):
        inspect_image(str(image))


def test_a_text_that_describes_a_vmdk_of_another_file_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "descriptor.qcow2"
    image.write_text('# Disk DescriptorFile\nversion=1\nRW 2048 FLAT "/etc/shadow" 0\n')
    with pytest.raises(ImageRefused, match="not a qcow2 image"):
        inspect_image(str(image))


def test_a_disk_larger_than_the_limit_is_refused(good: Path) -> None:
    huge = good.with_name("huge.qcow2")
    qemu_img("create", "-f", "qcow2", huge, f"{MAX_VIRTUAL_GIB + 1}G")
    with pytest.raises(ImageRefused, match=f"from 1 to {MAX_VIRTUAL_GIB} GiB"):
        inspect_image(str(huge))


def test_an_empty_disk_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "none.qcow2"
    qemu_img("create", "-f", "qcow2", image, "0")
    with pytest.raises(ImageRefused, match="from 1 to"):
        inspect_image(str(image))


def test_an_encrypted_disk_is_refused(good: Path) -> None:
    patch(good, 32, ">I", 1)
    with pytest.raises(ImageRefused, match="encrypted"):
        inspect_image(str(good))


def test_an_image_marked_corrupt_is_refused(good: Path) -> None:
    patch(good, 72, ">Q", 1 << 1)
    with pytest.raises(ImageRefused, match="damaged"):
        inspect_image(str(good))


def test_a_truncated_header_is_refused(good: Path) -> None:
    os.truncate(good, 20)
    with pytest.raises(ImageRefused, match="damaged"):
        inspect_image(str(good))


def test_a_header_that_asks_for_absurd_tables_is_refused_quickly(good: Path) -> None:
    patch(good, 36, ">I", 0xFFFFFFFF)  # l1_size
    with pytest.raises(ImageRefused, match="damaged"):
        inspect_image(str(good))


@pytest.mark.parametrize("path", ["disk.qcow2", "-f", "json:{}", "nbd://host/disk", "../disk", ""])
def test_only_whole_paths_are_accepted(path: str) -> None:
    with pytest.raises(ImageRefused, match="whole path"):
        inspect_image(path)


@pytest.mark.parametrize("path", ["/nowhere/at-all.qcow2", "/with\0zero"])
def test_a_missing_file_is_refused(path: str) -> None:
    with pytest.raises(ImageRefused, match="no file"):
        inspect_image(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/usr"])
def test_devices_and_folders_are_no_images(path: str) -> None:
    with pytest.raises(ImageRefused, match="not a file"):
        inspect_image(path)


def test_a_name_that_looks_like_options_or_a_command_is_only_a_name(good: Path) -> None:
    odd = good.with_name("--help; $(touch owned) 'x\" , file=y.qcow2")
    good.rename(odd)
    assert inspect_image(str(odd)).virtual_size_gib == 2
    assert not (odd.parent / "owned").exists()


# manage.py register_image


def register(path: Path, *more: str) -> None:
    call_command("register_image", str(path), "--name", "Imported", "--version", "7", *more)


@pytest.mark.django_db
def test_an_image_is_registered_by_command(good: Path) -> None:
    register(good, "--protocol", "vnc=5902", "--protocol", "jupyter=8888", "--sha256", checksum(str(good)).upper())
    added = Image.objects.get(name="Imported", version="7")
    assert (added.path, added.sha256, added.virtual_size_gib) == (str(good), checksum(str(good)), 2)
    assert (added.port(Protocol.VNC), added.port(Protocol.JUPYTER)) == (5902, 8888)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--sha256", "0" * 64], "not the file you mean"),
        (["--protocol", "telnet=23"], "write one of vnc"),
        (["--protocol", "vnc"], "write one of vnc"),
        (["--protocol", "vnc=99999"], "--protocol: .*65535"),
    ],
)
def test_a_registration_that_makes_no_sense_is_refused_in_words(good: Path, more: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        register(good, *more)
    assert not Image.objects.exists()


@pytest.mark.django_db
def test_the_same_version_is_not_registered_twice(good: Path) -> None:
    register(good)
    with pytest.raises(CommandError, match="already exists"):
        register(good)
    assert Image.objects.count() == 1
