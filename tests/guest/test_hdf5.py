"""The reader of HDF5 files' structure, as the full image has it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy
import pytest

READER = Path(__file__).parents[2] / "guest/files-full/usr/lib/visa/hdf5"


def told(path: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, READER], input=str(path).encode(), capture_output=True, check=False, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_groups_datasets_and_links_are_told_with_their_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry.create_dataset("counts", data=numpy.zeros((10, 20), "f4")).attrs["units"] = "K"
        entry["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert told(tmp_path / "a.h5") == [
        {"name": "entry", "depth": 0, "kind": "group", "attributes": {"NX_class": "NXentry"}},
        {
            "name": "counts",
            "depth": 1,
            "kind": "dataset",
            "shape": [10, 20],
            "type": "float32",
            "attributes": {"units": "K"},
        },
        {"name": "elsewhere", "depth": 1, "kind": "link", "to": "/x"},
    ]


def test_a_group_that_holds_itself_is_told_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["loop"] = file["/"]
    assert [line["name"] for line in told(tmp_path / "a.h5")] == ["loop"]


def test_many_are_cut_off(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(1100):
            file.create_group(f"{number:04}")
    lines = told(tmp_path / "a.h5")
    assert (len(lines), lines[-1]["kind"]) == (1001, "more")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + b"\xff" * 500, b"text"])
def test_what_is_none_is_told_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    assert told(tmp_path / "a.h5") == []
