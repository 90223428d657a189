"""The pages as people use them: by eye, by keyboard, by screen reader, in both themes and languages."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from desktops import chat, following, support
from desktops.models import NotebookRun
from desktops.shell.runs import Told
from instances.models import Instance
from instances.states import State
from tests.browser.conftest import Site, Visit, aside, hearing
from tests.desktops.rooms import granted
from tests.people import Facility, experiment, image, machine, plan
from visa_site.settings import BASE_DIR

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = BASE_DIR / "node_modules" / "axe-core" / "axe.min.js"
BUDGET = 150_000  # bytes of style and script


def pages_of(people: Facility) -> list[str]:
    return [
        "/",
        "/machines/new/",
        f"/machines/{people.machine.uuid}/",
        f"/machines/{people.machine.uuid}/desktop/",
        "/machines/past/",
        "/notices/",
        "/profile/",
        f"/join/{people.machine.uuid}/",
        "/accounts/password/change/",
        "/accounts/logout/",
        "/nowhere/",
    ]


def serious(page: Page) -> list[str]:
    """What axe finds of serious and critical faults, with the places."""
    page.evaluate(AXE.read_text())  # evaluated by the debugger: the page's own policy would refuse it, and rightly
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    grave = [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
    return [f"{page.url} {one['id']}: {[node['target'] for node in one['nodes']][:4]}" for one in grave]


@pytest.fixture
def full_house(people: Facility) -> Facility:
    """Alice has a machine in every state; on the first one people wrote, and support is inside and asks."""
    for state in State:
        problem = "Something broke. Try again." if state == State.ERROR else ""
        aside(machine, people.alice, people.plan, people.host, state=state, problem=problem)
    aside(chat.send, people.bob, people.machine, uuid4(), "See https://example.org/peaks")
    aside(granted, people.ines, people.machine)
    aside(runs_of, people)
    aside(support.ask, people.machine, people.sam, "Your fit looks stuck.", 30, control=True)
    return people


def runs_of(people: Facility) -> NotebookRun:
    """One that failed and one that runs, which is returned."""
    common = {"instance": people.machine, "by": people.alice, "created_at": timezone.now(), "cells": 12}
    words = "FileNotFoundError: [Errno 2] No such file or directory: '/data/EX-1/raw/2026_11_26_042137_frames.h5'"
    rows = [
        NotebookRun(**common, notebook="/home/alice/reduction.ipynb", cells_done=12, state="done"),
        NotebookRun(**common, notebook="/home/alice/fit.ipynb", cells_done=3, state="failed", problem=words),
        NotebookRun(
            **common,
            notebook="/home/alice/a_notebook_with_a_long_name_about_the_order_of_magnets_2026.ipynb",
            cells_done=5,
            state="running",
        ),
    ]
    return NotebookRun.objects.bulk_create(rows)[-1]


def unfold(page: Page) -> None:
    """Everything that the page keeps folded; on the machine's page once its people are fetched."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.querySelectorAll('details.drawer').forEach(one => { one.open = true })")


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing_serious(full_house: Facility, visit: Visit, site: Site, theme: str, width: int) -> None:
    size = {"width": width, "height": 900}
    page = visit(full_house.alice, color_scheme=theme, viewport=size, reduced_motion="reduce")
    faults = serious(page)
    for path in pages_of(full_house)[1:]:
        page.goto(f"{site.url}{path}")
        unfold(page)
        faults += serious(page)
    entrance = visit(None, "/accounts/login/", color_scheme=theme, viewport=size)
    assert not faults + serious(entrance)


def test_no_page_scrolls_sideways_on_a_phone_in_french(full_house: Facility, visit: Visit, site: Site) -> None:
    Instance.objects.update(name="Ein_sehr_langer_Name_ohne_jede_Lücke_für_den_Umbruch_12345678")
    page = visit(full_house.alice, viewport={"width": 390, "height": 800})
    page.get_by_role("button", name="FR Français").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Vos machines")
    for path in pages_of(full_house):
        page.goto(f"{site.url}{path}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, (path, wide)


def test_style_and_script_stay_within_their_budget(full_house: Facility, visit: Visit, site: Site) -> None:
    page = visit(full_house.alice)
    for path in pages_of(full_house):
        page.goto(f"{site.url}{path}")
        page.wait_for_load_state("load")
        fetched = page.evaluate("performance.getEntriesByType('resource').map(one => [one.name, one.decodedBodySize])")
        size = sum(size for name, size in fetched if name.endswith((".js", ".css")))
        assert 0 < size < BUDGET or path.endswith("/desktop/"), (path, fetched)


def test_a_machine_is_made_with_the_keyboard_alone(people: Facility, visit: Visit) -> None:
    page = visit(people.bob)
    reach(page, "New instance")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New instance")
    reach(page, "Create instance")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/machines/[0-9a-f-]{36}/$"))
    made = Instance.objects.get(owner=people.bob)
    assert made.name == "EX-1 · D20"
    assert [one.pk for one in made.experiments.all()] == [people.experiment.pk]
    assert (made.screen_width, made.screen_height) == (1280, 800)


def reach(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called `name`."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    pytest.fail(f"“{name}” cannot be reached with the Tab key")


def test_the_groups_of_the_form_have_their_names(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, "/machines/new/")
    for name in ("Experiment", "Image", "Size", "Screen"):
        expect(page.get_by_role("group", name=name, exact=True)).to_have_count(1)


def test_the_sizes_follow_the_image(people: Facility, visit: Visit) -> None:
    aside(plan, aside(image, "Imaging", "1.0"), people.large)
    page = visit(people.alice, "/machines/new/")
    small = page.get_by_role("group", name="Size").get_by_role("radio", name="Small")
    expect(small).to_be_enabled()
    page.get_by_role("radio", name="Imaging").check(force=True)
    expect(small).to_be_disabled()
    expect(page.locator("#summary")).to_contain_text("Large")


def test_searching_leaves_the_experiments_that_fit(people: Facility, visit: Visit) -> None:
    for number in range(500):
        aside(experiment, f"MANY-{number}", people.alice, title="Spin waves" if number == 321 else "Other")
    page = visit(people.alice, "/machines/new/")
    page.get_by_label("Search experiments").fill("spin many")
    shown = page.locator("#choices .choice:visible")
    expect(shown).to_have_count(2)  # what is ticked stays in sight
    expect(shown.last).to_contain_text("MANY-321")


def test_own_size_is_checked_and_what_was_typed_stays(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, "/machines/new/")
    page.get_by_role("radio", name="Own size").check(force=True)
    page.get_by_label("Width").fill("99999")
    page.get_by_label("Name", exact=True).fill("My name")
    page.get_by_role("button", name="Create instance").click()
    expect(page.locator(".errors")).to_contain_text("8192")
    expect(page.get_by_label("Width")).to_have_value("99999")
    expect(page.get_by_label("Name", exact=True)).to_have_value("My name")


def test_deleting_asks_first(people: Facility, visit: Visit) -> None:
    page = visit(people.alice)
    page.locator(".card .menu summary").click()
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("recycle bin")
    dialog.get_by_role("button", name="Keep as it is").click()
    assert Instance.objects.get(pk=people.machine.pk).state == State.ACTIVE
    page.locator(".card .menu summary").click()
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator(".card")).to_contain_text("Being deleted")


def test_a_card_follows_its_machine_and_says_so(people: Facility, visit: Visit) -> None:
    page = visit(people.alice)
    expect(page.locator(".card")).to_contain_text("Ready")
    expect(page.locator("#connection")).to_be_hidden()
    aside(people.machine.transition, State.STOPPING, by=people.alice)
    expect(page.locator(".card")).to_contain_text("Stopping")
    expect(page.locator("#announcer")).to_have_text("alice's machine: Stopping")


def test_a_card_shows_also_what_changed_while_it_was_fetched(people: Facility, visit: Visit) -> None:
    def change_and_go_on(route: Route) -> None:
        answer = route.fetch()
        aside(people.machine.transition, State.STOPPED, by=None)
        page.wait_for_function("() => rung.includes('stopped')")
        route.fulfill(response=answer)

    page = hearing(visit(people.alice))
    page.evaluate("rung = []; document.addEventListener('visa:heard', ({detail}) => rung.push(detail.state))")
    page.route("**/card/", change_and_go_on, times=1)
    aside(people.machine.transition, State.STOPPING, by=people.alice)
    expect(page.locator(".card")).to_have_attribute("data-state", "stopped")


def test_who_is_at_a_link_of_a_card_stays_there_when_it_changes(people: Facility, visit: Visit) -> None:
    page = hearing(visit(people.alice))
    link = page.get_by_role("link", name="alice's machine")
    link.focus()
    aside(people.machine.transition, State.STOPPING, by=people.alice)
    expect(page.locator(".card")).to_have_attribute("data-state", "stopping")
    expect(link).to_be_focused()


def test_all_that_changed_in_a_list_meanwhile_is_said(people: Facility, visit: Visit) -> None:
    aside(machine, people.alice, people.plan, people.host, name="Second")
    page = hearing(visit(people.alice))
    expect(page.get_by_role("article")).to_have_count(2)
    page.wait_for_load_state("networkidle")
    aside(Instance.objects.update, state=State.STOPPED)
    page.evaluate("htmx.trigger('#machines', 'changed')")
    expect(page.locator("#announcer")).to_contain_text("alice's machine: Stopped")
    expect(page.locator("#announcer")).to_contain_text("Second: Stopped")


def test_a_menu_that_was_opened_while_its_card_was_fetched_stays_open(people: Facility, visit: Visit) -> None:
    def open_and_go_on(route: Route) -> None:
        answer = route.fetch()
        menu.locator("summary").press("Enter")
        route.fulfill(response=answer)

    page = hearing(visit(people.alice))
    menu = page.locator(".card .menu")
    page.route("**/card/", open_and_go_on, times=1)
    with page.expect_response("**/card/"):
        aside(people.machine.transition, State.STOPPING, by=people.alice)
    expect(menu.get_by_role("link", name="Details and history")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_contain_text("Stopping")


def test_a_list_without_its_last_machine_invites_again(people: Facility, visit: Visit) -> None:
    page = visit(people.alice)
    expect(page.get_by_role("article")).to_have_count(1)
    aside(Instance.objects.filter(pk=people.machine.pk).update, state=State.BINNED)
    aside(people.machine.tell, "state")
    expect(page.get_by_role("heading", name="Your data, a desktop")).to_be_visible()


def test_the_page_of_a_machine_in_the_bin_stays_as_it_is(people: Facility, visit: Visit) -> None:
    Instance.objects.filter(pk=people.machine.pk).update(state=State.BINNED)
    page = visit(people.alice, f"/machines/{people.machine.uuid}/")
    page.evaluate("stays = true")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.stays")


def test_the_machines_page_opens_the_desktop_by_itself(people: Facility, visit: Visit, site: Site) -> None:
    made = aside(machine, people.alice, people.plan, people.host, state=State.STARTING, vnc_password="secret12")
    page = visit(people.alice, f"/machines/{made.uuid}/")
    expect(page.get_by_text("Find a host with room")).to_be_visible()
    aside(made.transition, State.ACTIVE)
    Instance.objects.filter(pk=made.pk).update(desktop_ready_at=timezone.now())
    aside(made.tell, "desktop")
    page.wait_for_url("**/desktop/")


def test_a_notebook_run_is_followed_and_stopped_on_the_machines_page(people: Facility, visit: Visit) -> None:
    run = aside(runs_of, people)
    page = visit(people.alice, f"/machines/{people.machine.uuid}/")
    panel = page.get_by_role("region", name="Notebook runs")
    expect(panel).to_contain_text("5 of 12 cells")
    expect(page.locator("#connection")).to_be_hidden()
    page.get_by_role("button", name=f"Stop {Path(run.notebook).name}").press("Enter")
    expect(panel).to_contain_text("Stopping")
    aside(following.write, [run], {str(run.uuid): Told("stopped", cells=(6, 12))}, timezone.now())
    expect(panel).to_contain_text("6 of 12 cells")
    expect(panel.get_by_role("link", name=f"Result {Path(run.notebook).name}")).to_be_visible()


def test_a_page_remembers_its_theme(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, color_scheme="light")
    page.get_by_role("button", name="Switch to dark").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    expect(page.get_by_role("button", name="Switch to light")).to_be_visible()


def test_a_token_is_shown_once(people: Facility, visit: Visit) -> None:
    page = visit(people.alice, "/profile/")
    page.get_by_label("What is it for?").fill("my notebook")
    page.get_by_role("button", name="Make a token").click()
    assert page.locator("#token").inner_text().startswith("visa_")
    page.goto(page.url.replace("tokens/", ""))
    expect(page.locator("#token")).to_have_count(0)
    page.get_by_role("row", name="my notebook").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("The token is revoked.")).to_be_visible()
