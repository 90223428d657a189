"""When an image is built anew, and what its description says; on a copy of the recipe, without building anything."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "guest"
DESCRIBE = """
import importlib.machinery, importlib.util, sys, tomllib
loader = importlib.machinery.SourceFileLoader("build", sys.argv[1])
build = importlib.util.module_from_spec(importlib.util.spec_from_loader("build", loader))
loader.exec_module(build)
facts = tomllib.loads((build.RECIPE / "variants.toml").read_text())
print(build.Variant(sys.argv[2], facts[sys.argv[2]]).recipe_hash())
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(RECIPE, tmp_path / "guest", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    )


def recipe_hash(recipe: Path, variant: str) -> str:
    command = [sys.executable, "-B", "-c", DESCRIBE, str(recipe / "build"), variant]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def build(recipe: Path, output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(recipe / "build"), "--variant", "ci", "--output", str(output)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=30, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("name", ["files/usr/lib/visa/personalise", "packages/base.txt", "initrd/init", "customise"])
def test_a_change_that_matters_asks_for_a_new_image(recipe: Path, name: str) -> None:
    before = recipe_hash(recipe, "ci")
    with (recipe / name).open("a") as file:
        file.write("# changed\n")
    assert recipe_hash(recipe, "ci") != before


def test_a_lost_executable_bit_asks_for_a_new_image(recipe: Path) -> None:
    before = recipe_hash(recipe, "ci")
    (recipe / "files/usr/lib/visa/personalise").chmod(0o644)
    assert recipe_hash(recipe, "ci") != before


def test_the_small_variant_does_not_care_for_what_only_the_full_one_has(recipe: Path) -> None:
    small, full = recipe_hash(recipe, "ci"), recipe_hash(recipe, "full")
    (recipe / "requirements-jupyter.txt").write_text("")
    (recipe / "README.md").write_text("")
    assert recipe_hash(recipe, "ci") == small
    assert recipe_hash(recipe, "full") != full


def test_an_image_that_is_there_is_not_built_again(recipe: Path, tmp_path: Path) -> None:
    current = recipe_hash(recipe, "ci")
    (tmp_path / f"ci-{current}.qcow2").write_bytes(b"an image")
    (tmp_path / "ci.json").write_text(json.dumps({"recipe": current}))
    done = build(recipe, tmp_path, PATH="/nowhere")
    assert (done.returncode, done.stderr) == (0, "")
    assert "is up to date" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as the tools")
def test_a_missing_tool_is_named_with_its_package(recipe: Path, tmp_path: Path) -> None:
    (recipe / "build").write_text((RECIPE / "build").read_text().replace('"mke2fs": ', '"mke2fs-of-nowhere": '))
    done = build(recipe, tmp_path / "images")
    assert done.returncode == 1
    assert "apt-get install e2fsprogs" in done.stderr
    assert not (tmp_path / "images").exists()
