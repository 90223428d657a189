"""The page of a machine's files before a real SSH server: looking, making, uploading, renaming, deleting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from desktops import filing
from tests.browser.conftest import Site, Visit, aside
from tests.desktops.shell.guest import Guest, a_guest, put_behind
from tests.desktops.shell.test_files import owned
from tests.people import Facility

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with a_guest(tmp_path_factory.mktemp("guest")) as running:
        yield running


def row(page: Page, name: str) -> Locator:
    return page.locator("#rows tr").filter(has=page.get_by_role("button", name=name, exact=True))


def drag_onto(page: Page, *paths: Path) -> None:
    """From the person's file manager: no script can make up a folder that is dragged."""
    browser = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 400, "data": data})
    browser.detach()


def test_files_are_looked_into_made_uploaded_renamed_and_deleted(
    people: Facility, guest: Guest, visit: Visit, site: Site, tmp_path: Path
) -> None:
    aside(put_behind, people.machine, guest)
    home = guest.machine.folder / "home/mcurie"
    owned(home / "page.html", b"<script>window.ran = true</script>")
    page = visit(people.alice, f"/machines/{people.machine.uuid}/files/")
    page.get_by_role("button", name="page.html").click()
    expect(page.locator("#preview-body")).to_contain_text("<script>window.ran = true</script>")
    assert page.evaluate("window.ran") is None
    page.keyboard.press("Escape")

    page.get_by_role("button", name="New folder").click()
    page.get_by_role("textbox", name="Name of the new folder").fill("data <b>é<b>")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="data <b>é<b>").click()
    expect(page.locator("#note")).to_have_text("This folder is empty.")

    content = bytes(range(256)) * 40_000
    (tmp_path / "run 1.h5").write_bytes(content)
    page.locator("#picked").set_input_files(tmp_path / "run 1.h5")
    expect(page.locator("#queue")).to_contain_text("Arrived", timeout=60_000)
    assert (home / "data <b>é<b>" / "run 1.h5").read_bytes() == content

    row(page, "run 1.h5").get_by_role("checkbox").check()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").first.click()
    assert saved.value.path().read_bytes() == content
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="New name of run 1.h5").fill("run 2.h5")
    page.keyboard.press("Enter")
    row(page, "run 2.h5").get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#note")).to_have_text("This folder is empty.")
    assert not list((home / "data <b>é<b>").iterdir())
    page.get_by_role("button", name="Home").click()
    expect(row(page, "page.html")).to_be_visible()

    tree = {"scan/raw/1.h5": content[:1000], "scan/raw/deep/é 2.h5": b"", "scan/notes.txt": b"dark field"}
    for name, held in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(held)
    drag_onto(page, tmp_path / "scan")
    expect(page.locator("#queue").get_by_text("Arrived")).to_have_count(1 + len(tree), timeout=60_000)
    assert {name: (home / name).read_bytes() for name in tree} == tree
    expect(row(page, "scan")).to_be_visible()
    site.call(filing.end_all())
