"""The terminal's page before a real shell: typing, coming back, watching, and the keyboard's way out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from instances.models import Member, MemberRole
from tests.browser.conftest import Visit, aside
from tests.desktops.rooms import members_may_work_alone
from tests.desktops.shell.guest import Guest, a_guest, put_behind
from tests.people import Facility, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with a_guest(tmp_path_factory.mktemp("guest")) as running:
        yield running


def shows(page: Page, text: str) -> None:
    expect(page.locator(".xterm-rows")).to_contain_text(text)


def opened(page: Page) -> None:
    expect(page.locator("#veil")).to_be_hidden()


def test_a_terminal_is_typed_in_watched_left_and_found_again(people: Facility, guest: Guest, visit: Visit) -> None:
    aside(put_behind, people.machine, guest)
    aside(members_may_work_alone, people.machine)
    gwen = aside(person, "gwen")
    aside(Member.objects.create, instance=people.machine, user=gwen, role=MemberRole.GUEST)
    page = visit(people.alice, f"/machines/{people.machine.uuid}/")
    with page.expect_popup() as tab:
        page.get_by_role("link", name="Terminal").click()
    page = tab.value
    opened(page)
    expect(page.get_by_label("Terminal input")).to_be_focused()
    page.keyboard.type("kept=$((6 * 7)); echo answer $kept\n")
    shows(page, "answer 42")

    page.keyboard.press("Tab")
    expect(page.get_by_label("Terminal input")).to_be_focused()
    page.keyboard.press("Control+Alt+Shift")
    expect(page.get_by_role("link", name="To the machine")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Terminal input")).to_be_focused()

    page.keyboard.press("Control+u")
    page.reload()
    opened(page)
    shows(page, "answer 42")
    page.keyboard.type("echo still $kept\n")
    shows(page, "still 42")

    watcher = visit(gwen, f"/machines/{people.machine.uuid}/terminal/")
    opened(watcher)
    shows(watcher, "still 42")
    expect(watcher.locator("#watching")).to_have_text("You are watching: only who has control can type.")
    watcher.keyboard.type("echo from-gwen\n")
    page.keyboard.type("echo $((50 + 1)) and over\n")
    shows(watcher, "51 and over")
    expect(page.locator(".xterm-rows")).not_to_contain_text("from-gwen")

    page.keyboard.type("exit\n")
    page.get_by_role("button", name="New shell").click()
    opened(page)
    page.keyboard.type("echo [$kept] anew\n")
    shows(page, "[] anew")
