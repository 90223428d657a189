"""The people of a machine in the browser: adding, changing, handing over, and coming in by a link."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from desktops.models import Invitation, Pass, Room
from experiments.models import User
from instances.models import Instance, Member, MemberRole
from tests.browser.conftest import Site, Visit, aside
from tests.people import PASSWORD, Facility, person
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def of_machine(people: Facility) -> str:
    return f"/machines/{people.machine.uuid}/"


def role_of(user: User, people: Facility) -> str | None:
    return Member.objects.filter(user=user, instance=people.machine).values_list("role", flat=True).first()


def unfold(page: Page, name: str) -> None:
    page.locator("#people summary", has_text=name).click()


def act(page: Page, who: str, what: str) -> None:
    """Choose from somebody's menu."""
    page.locator("#people summary", has_text=f"Change {who}").click()
    page.get_by_role("button", name=what).click()


def agree(page: Page, what: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=what).click()


def test_somebody_of_the_team_is_added_with_two_presses(people: Facility, visit: Visit) -> None:
    dora = aside(person, "dora")
    aside(people.experiment.team.add, dora)
    page = visit(people.alice, of_machine(people))
    unfold(page, "Add people")
    page.locator("#people-add").get_by_text("View only").click()
    page.get_by_role("button", name="Add Dora Example").click()
    expect(page.locator("#people > .people")).to_contain_text("Dora Example")
    expect(page.get_by_role("button", name="Add Dora Example")).to_have_count(0)
    expect(page.get_by_label("View only")).to_be_checked()  # what was chosen stays for the next
    assert role_of(dora, people) == MemberRole.GUEST


def test_somebody_else_is_found_as_one_types(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, of_machine(people))
    unfold(page, "Add people")
    page.get_by_role("searchbox", name="Search people").press_sequentially("charlie ex")
    page.get_by_role("button", name="Add Charlie Example").click()
    expect(page.locator("#people > .people")).to_contain_text("Charlie Example")
    expect(page.get_by_role("searchbox", name="Search people")).to_have_value("charlie ex")
    assert "charlie@example.org" not in page.content()


def test_a_role_is_changed_and_a_member_removed_after_a_question(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, of_machine(people))
    act(page, "Bob Example", "Let only watch")
    expect(page.locator("#people > .people")).to_contain_text("View only")
    act(page, "Bob Example", "Remove")
    agree(page, "Keep as it is")
    assert role_of(people.bob, people) == MemberRole.GUEST
    act(page, "Bob Example", "Remove")
    agree(page, "Remove")
    expect(page.locator("#people > .people")).not_to_contain_text("Bob Example")
    assert role_of(people.bob, people) is None


def test_the_panel_of_a_member_follows_what_the_owner_does(people: Facility, visit: Visit) -> None:
    bobs = visit(people.bob, of_machine(people))
    expect(bobs.get_by_role("button", name="Leave")).to_be_visible()
    expect(bobs.locator("#people .drawer")).to_have_count(0)
    page = visit(people.alice, of_machine(people))
    act(page, "Bob Example", "Let only watch")
    expect(bobs.locator("#people > .people")).to_contain_text("View only")


def test_a_switch_is_turned_and_seen_by_another_tab(people: Facility, visit: Visit) -> None:
    page, other = visit(people.alice, of_machine(people)), visit(people.alice, of_machine(people))
    switch = other.get_by_role("switch", name="Members may work while I am away")
    expect(switch).not_to_be_checked()
    page.get_by_role("switch", name="Members may work while I am away").click()
    expect(switch).to_be_checked()
    assert Room.objects.get(instance=people.machine).members_alone


def test_the_machine_is_handed_over_after_a_question(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, of_machine(people))
    act(page, "Bob Example", "Hand over")
    expect(page.get_by_role("dialog")).to_contain_text("Hand “alice's machine” over to Bob Example?")
    agree(page, "Hand over")
    expect(page.get_by_role("button", name="Leave")).to_be_visible()
    assert Instance.objects.get(pk=people.machine.pk).owner_id == people.bob.pk


def test_why_somebody_cannot_become_the_owner_is_said(people: Facility, visit: Visit) -> None:
    people.experiment.team.remove(people.bob)
    page = visit(people.alice, of_machine(people))
    act(page, "Bob Example", "Hand over")
    agree(page, "Hand over")
    expect(page.locator("#people .errors").first).to_contain_text("Bob Example was not on the team")


def test_a_member_leaves_and_is_home(people: Facility, visit: Visit) -> None:
    page = visit(people.bob, of_machine(people))
    page.get_by_role("button", name="Leave").click()
    agree(page, "Leave")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your machines")
    assert role_of(people.bob, people) is None


def made_link(page: Page, name: str) -> str:
    unfold(page, "Invite by a link")
    page.get_by_label("For whom").fill(name)
    page.locator("#invite-new select[name=role]").select_option("guest")
    page.get_by_role("button", name="Make a link").click()
    shown = page.locator("#invite-link code")
    expect(shown).to_have_text(re.compile(r"/join/[0-9a-f-]{36}/#\S{40,}$"))
    return shown.inner_text()


def test_charlie_comes_by_alices_link_through_the_sign_in(people: Facility, visit: Visit, site: Site) -> None:
    page = visit(people.alice, of_machine(people))
    link = made_link(page, "Charlie at the synchrotron")
    secret = link.split("#")[1]
    expect(page.locator("#people .links")).to_contain_text("0 of 1 used")
    page.reload()
    unfold(page, "Invite by a link")
    expect(page.locator("#people .links")).to_contain_text("Charlie at the synchrotron")
    assert secret not in page.content()

    asked: list[str] = []
    theirs = visit(None, link.removeprefix(site.url))
    theirs.on("request", lambda request: asked.append(request.url))
    theirs.get_by_label("Username").fill("charlie")
    theirs.get_by_label("Password").fill(PASSWORD)
    theirs.get_by_role("button", name="Sign in").click()
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Alice Example invites you to “alice's machine”")
    expect(theirs.locator("#join-found")).to_contain_text("View only")
    assert role_of(people.charlie, people) is None
    assert secret not in theirs.url
    theirs.get_by_role("button", name="Join").click()
    theirs.wait_for_url("**/desktop/")
    assert role_of(people.charlie, people) == MemberRole.GUEST
    assert not [url for url in asked if secret in url]
    expect(page.locator("#people > .people")).to_contain_text("Charlie Example")
    expect(page.locator("#people .links")).to_have_count(0)


@pytest.mark.parametrize("end", ["", "#", "#wrong"])
def test_a_link_that_does_not_work_says_so(people: Facility, visit: Visit, end: str) -> None:
    page = visit(people.charlie, f"/join/{people.machine.uuid}/{end}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("This link does not work.")


def test_a_link_without_a_name_is_asked_for_one(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, of_machine(people))
    unfold(page, "Invite by a link")
    page.get_by_label("People at most").fill("3")
    page.get_by_role("button", name="Make a link").click()
    expect(page.locator("#invite-new .errors")).to_contain_text("Say for whom the link is")
    expect(page.get_by_label("For whom")).to_be_focused()
    expect(page.get_by_label("People at most")).to_have_value("3")


def test_a_public_link_lets_charlie_watch_until_it_is_withdrawn(people: Facility, visit: Visit, site: Site) -> None:
    page = visit(people.alice, of_machine(people))
    unfold(page, "Public view link")
    page.get_by_role("button", name="Make a public link").click()
    shown = page.locator("#public-shown code")
    expect(shown).to_have_text(re.compile("#"))
    theirs = visit(people.charlie, shown.inner_text().removeprefix(site.url))
    expect(theirs.locator("#join-found")).to_contain_text("You may watch while Alice Example is there.")
    theirs.get_by_role("button", name="Join").click()
    theirs.wait_for_url("**/desktop/")
    assert Pass.objects.get().user == people.charlie
    page.get_by_role("button", name="Withdraw the public link").click()
    wait_until(lambda: Invitation.objects.filter(revoked_at=None).count() == 0, "the withdrawal")
    theirs.reload()
    expect(theirs.get_by_role("heading", level=1)).to_have_text("There is nothing at this address")


def test_a_machine_comes_to_the_list_of_who_is_added_and_leaves_it_with_them(people: Facility, visit: Visit) -> None:
    home = visit(people.charlie, "/")
    expect(home.get_by_role("article")).to_have_count(0)
    aside(Member.objects.create, instance=people.machine, user=people.charlie, role=MemberRole.GUEST)
    expect(home.get_by_role("article")).to_have_count(1)
    member = aside(Member.objects.get, instance=people.machine, user=people.charlie)
    aside(member.delete)
    expect(home.get_by_role("article")).to_have_count(0)


def test_a_list_shows_also_what_came_while_its_page_was_loading(people: Facility, visit: Visit) -> None:
    def add_and_go_on(route: Route) -> None:
        aside(Member.objects.create, instance=people.machine, user=people.charlie, role=MemberRole.GUEST)
        route.continue_()

    home = visit(people.charlie, "/")
    home.route("**/js/events.js", add_and_go_on, times=1)
    home.reload()
    expect(home.get_by_role("article")).to_have_count(1)
