"""Commands run one after the other: their failures in words, and nothing twice."""

import os
from functools import partial
from pathlib import Path

import pytest

from deploy.steps import Failed, fingerprint, interrupt, run, start, unless_done
from tests.deploy.test_supervision import gone
from tests.servers import wait_until


def test_a_failure_shows_the_last_lines_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    with pytest.raises(Failed) as failure:
        run(["sh", "-c", "echo this went wrong >&2; exit 3"], log)
    assert "this went wrong" in str(failure.value)
    assert str(log) in str(failure.value)
    assert "of an earlier run" not in str(failure.value)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="The program no-such-program is missing"):
        run(["no-such-program"], tmp_path / "log")


def test_work_is_done_again_only_for_other_inputs(tmp_path: Path) -> None:
    done: list[str] = []
    for inputs in ("one", "one", "two"):
        unless_done(tmp_path / "stamp", inputs, partial(done.append, inputs))
    assert done == ["one", "two"]


def test_work_that_failed_is_tried_again(tmp_path: Path) -> None:
    def fail() -> None:
        raise Failed("no")

    done: list[str] = []
    unless_done(tmp_path / "stamp", "one", partial(done.append, "first"))
    with pytest.raises(Failed):
        unless_done(tmp_path / "stamp", "two", fail)
    unless_done(tmp_path / "stamp", "one", partial(done.append, "again"))
    assert done == ["first", "again"]


def test_a_fingerprint_follows_content_names_and_absence(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    seen = {fingerprint([one]), fingerprint([one, two]), fingerprint([two, one])}
    two.write_text("b")
    seen |= {fingerprint([one, two]), fingerprint([one, two], "fact")}
    assert len(seen) == 5
    assert fingerprint([one, two]) == fingerprint([one, two])


@pytest.mark.skipif(os.geteuid() != 0, reason="as another user, Ctrl-C reaches the children by the terminal")
def test_an_interrupted_command_takes_its_children_along(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        parent = start(["sh", "-c", "sh -c 'echo $$; exec sleep 1000'; true"], log.fileno())
    wait_until(lambda: (tmp_path / "log").read_text().strip(), "the child's number")
    child = int((tmp_path / "log").read_text())
    interrupt(parent)
    assert parent.poll() is not None
    assert gone(child)
