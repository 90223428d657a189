"""Watchers in real browsers before a real Xvnc: noVNC is shown one connection after another and must not notice."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from experiments.models import User
from instances.models import Member, MemberRole
from tests.browser.conftest import Visit, aside
from tests.browser.screens import Screen
from tests.browser.test_desktop import desktop, pixel, shows
from tests.desktops.xvnc import Pencil, xvnc
from tests.people import Facility, person
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def guest(people: Facility, name: str) -> User:
    def add() -> User:
        user = person(name)
        Member.objects.create(instance=people.machine, user=user, role=MemberRole.GUEST)
        return user

    return aside(add)


def draw(pencil: Pencil, step: int) -> None:
    """Palettes, full colours and a photo, each where the others are not."""
    for column in range(40):
        pencil.fill(0x050709 * column * (step + 1) % 0xFFFFFF, 10 + column * 14, 40 + 60 * step, 9, 40)
    pencil.photo(20 + 100 * step, 300, 90, 90)
    pencil.fill(0x0040A0, 600, 20 + 10 * step, 10, 10)
    pencil.finish()


def picture(page: Page) -> str:
    drawn: str = page.locator("#screen canvas").evaluate("canvas => canvas.toDataURL()")
    return drawn


def marked(page: Page, x: int, y: int) -> None:
    wait_until(lambda: pixel(page, x, y) == [0, 0x40, 0xA0], "the mark")


def test_watchers_who_come_one_after_the_other_see_the_same(people: Facility, visit: Visit) -> None:
    with xvnc(640, 480) as server:
        people.image.protocols.filter(kind="vnc").update(port=server.port)
        people.machine.address, people.machine.vnc_password = "127.0.0.1", ""
        aside(people.machine.save)
        pencil, pages = Pencil(server), []
        visit(people.alice, desktop(people))
        for step, name in enumerate(("gwen", "greta", "george")):
            page = visit(guest(people, name), desktop(people))
            expect(page.locator("#veil")).to_be_hidden()
            pages.append(page)
            draw(pencil, step)
            for one in pages:
                marked(one, 605, 25 + 10 * step)
        wait_until(lambda: len({picture(page) for page in pages}) == 1, "the same picture for all")
        pencil.close()


def test_a_guest_who_may_control_goes_on_without_a_veil(people: Facility, screen: Screen, visit: Visit) -> None:
    shows(visit(people.alice, desktop(people)))
    gwen = guest(people, "gwen")
    page = visit(gwen, desktop(people))
    shows(page)
    page.evaluate(
        """() => {
            window.veiled = 0;
            const veil = document.getElementById("veil");
            new MutationObserver(() => (window.veiled += !veil.hidden)).observe(veil, { attributes: true });
        }"""
    )

    def promote() -> None:
        member = Member.objects.get(user=gwen)
        member.role = MemberRole.USER
        member.save()

    aside(promote)

    def types() -> bool:
        page.locator("#screen canvas").focus()
        page.keyboard.press("z")
        return ord("z") in screen.keys

    wait_until(types, "the key")
    assert page.evaluate("window.veiled") == 0
