"""The page of a machine's files before a real SSH server: looking, making, uploading, renaming, deleting."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

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


@pytest.fixture
def home(people: Facility, guest: Guest, site: Site) -> Iterator[Path]:
    """That of Alice's machine, with nothing in it but what the test puts there."""
    aside(put_behind, people.machine, guest)
    home = guest.machine.folder / "home/mcurie"
    for left in (one for one in home.iterdir() if not one.name.startswith(".") or one.name.endswith(".part")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    yield home
    site.call(filing.end_all())


def files_of(people: Facility) -> str:
    return f"/machines/{people.machine.uuid}/files/"


def test_what_was_chosen_is_deleted_and_nothing_of_where_one_went_meanwhile(
    people: Facility, home: Path, visit: Visit
) -> None:
    def go_elsewhere(route: Route) -> None:
        if "delete" in (route.request.post_data or "") and not page.locator("#where").get_by_text("second").count():
            page.evaluate("location.hash = location.hash.replace('first', 'second')")
            expect(page.locator("#where")).to_have_text("second")
        route.continue_()

    for folder in ("first", "second"):
        for name in ("a.txt", "b.txt"):
            owned(home / folder / name, b"x")
        owned(home / folder, None)
    page = visit(people.alice, files_of(people))
    page.get_by_role("button", name="first").click()
    expect(page.locator("#where")).to_have_text("first")
    page.get_by_role("checkbox", name="Choose all").check()
    page.route("**/files/change/", go_elsewhere)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#told")).to_have_text("Deleted: 2")
    assert (os.listdir(home / "first"), sorted(os.listdir(home / "second"))) == ([], ["a.txt", "b.txt"])


def test_who_works_by_keyboard_stays_amid_the_list(people: Facility, home: Path, visit: Visit, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        owned(home / name, b"x")
    page = visit(people.alice, files_of(people))
    row(page, "b.txt").get_by_role("checkbox").press("Space")
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    expect(page.locator("#told")).to_have_text("Deleted: b.txt")
    expect(row(page, "c.txt").get_by_role("button")).to_be_focused()
    row(page, "a.txt").get_by_role("checkbox").press("Space")
    (tmp_path / "new.txt").write_bytes(b"new")
    page.locator("#picked").set_input_files(tmp_path / "new.txt")
    expect(row(page, "new.txt")).to_be_visible()
    expect(row(page, "a.txt").get_by_role("checkbox")).to_be_checked()
    expect(row(page, "a.txt").get_by_role("checkbox")).to_be_focused()


def test_an_upload_says_why_it_cannot_go_on_and_the_next_one_does(
    people: Facility, home: Path, visit: Visit, tmp_path: Path
) -> None:
    page = visit(people.alice, files_of(people))
    expect(row(page, ".profile")).to_be_visible()
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_bytes(b"x")
    ended = {"status": 409, "json": {"code": 4403}}
    page.route("**/files/upload/?**name=one.txt**", lambda route: route.fulfill(**ended))
    page.locator("#picked").set_input_files([tmp_path / "one.txt", tmp_path / "two.txt"])
    expect(page.locator("#queue li").first).to_contain_text("You may no longer see these files.")
    expect(page.locator("#queue li").last).to_contain_text("Arrived")
    expect(page.locator("#told")).to_have_text("Of what was chosen 1 did not arrive.")


def test_of_an_upload_that_is_given_up_nothing_stays(
    people: Facility, home: Path, visit: Visit, tmp_path: Path
) -> None:
    page = visit(people.alice, files_of(people))
    expect(row(page, ".profile")).to_be_visible()
    owned(home / "one.txt", b"before")
    (tmp_path / "one.txt").write_bytes(b"x")
    page.locator("#picked").set_input_files(tmp_path / "one.txt")
    expect(page.locator("#told")).to_have_text("one.txt: There is one of that name already.")
    assert list(home.glob("*.part"))
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Leave it out").click()
    expect(page.locator("#queue li")).to_contain_text("Cancelled")
    assert not list(home.glob("*.part"))
    assert (home / "one.txt").read_bytes() == b"before"


def test_on_a_phone_the_name_of_an_upload_has_the_width_of_the_page(
    people: Facility, home: Path, visit: Visit, tmp_path: Path
) -> None:
    page = visit(people.alice, files_of(people), viewport={"width": 390, "height": 800})
    expect(row(page, ".profile")).to_be_visible()
    owned(home / "spectrum.dat", b"before")
    (tmp_path / "spectrum.dat").write_bytes(b"x")
    page.locator("#picked").set_input_files(tmp_path / "spectrum.dat")
    expect(page.get_by_role("button", name="Leave it out")).to_be_visible()
    page.screenshot(path=tmp_path / "uploads.png")
    name = page.locator("#queue .break").bounding_box()
    assert name
    assert name["width"] > 250


def test_files_are_looked_into_made_uploaded_renamed_and_deleted(
    people: Facility, home: Path, visit: Visit, tmp_path: Path
) -> None:
    owned(home / "page.html", b"<script>window.ran = true</script>")
    page = visit(people.alice, files_of(people))
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
