"""What `make run` shows while the desktop image is built."""

import subprocess
import sys

import pytest

from deploy import image
from deploy.steps import Failed


def builder(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-uc", program], stdout=subprocess.PIPE)


def test_the_builders_lines_are_shown_and_a_silence_says_what_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "SILENCE_S", 0.05)
    image.follow(builder("import time; print('[1/7]  0.0 s  packing'); time.sleep(1); print('done')"))
    said = capsys.readouterr().out
    assert "[1/7]  0.0 s  packing" in said
    assert "still at it: packing" in said
    assert "done" in said


def test_a_builder_that_fails_ends_it() -> None:
    with pytest.raises(Failed):
        image.follow(builder("print('no space'); raise SystemExit(1)"))
