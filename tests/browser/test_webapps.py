"""A web application that an image declares, in a real browser: buttons, its page, and waiting for it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from desktops.webapps.origins import Address
from tests.browser.conftest import Site, Visit, aside, session
from tests.desktops.webapps.conftest import declare
from tests.desktops.webapps.jupyter import free_port
from tests.people import Facility
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@contextmanager
def web_server(folder: Path, port: int) -> Iterator[None]:
    """Python's own, which knows nothing of VISA."""
    page = folder / "d" / "home" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("<!doctype html><title>Beam</title><h1>Beam current</h1>")
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def pressed(page: Page) -> Page:
    with page.expect_popup() as tab:
        page.get_by_role("button", name="Grafana").click()
    return tab.value


def test_a_declared_application_opens_from_card_and_page_once_it_answers(
    people: Facility, visit: Visit, site: Site, tmp_path: Path
) -> None:
    port = free_port()
    aside(declare, people.machine, port)
    page = visit(people.alice)
    tab = pressed(page)
    expect(tab.get_by_role("status")).to_have_text("Grafana does not answer at the moment. It opens here when it does.")
    with web_server(tmp_path, port):
        expect(tab.get_by_role("heading", name="Beam current")).to_be_visible()
        assert tab.url == f"{Address(people.machine.uuid, 'grafana').origin}/d/home/"
        page.goto(f"{site.url}/machines/{people.machine.uuid}/")
        expect(pressed(page).get_by_role("heading", name="Beam current")).to_be_visible()


def test_a_sign_in_that_ended_is_said_beside_the_desktop_and_mended_there(
    people: Facility, visit: Visit, site: Site, tmp_path: Path
) -> None:
    port = free_port()
    aside(declare, people.machine, port)
    with web_server(tmp_path, port):
        page = visit(people.alice, f"/machines/{people.machine.uuid}/desktop/?beside=grafana")
        beside = page.frame_locator("#beside iframe")
        expect(beside.get_by_role("heading", name="Beam current")).to_be_visible()
        aside(Session.objects.all().delete)
        inside = page.frames[1]
        wait_until(lambda: inside.evaluate("fetch('/').then((answer) => answer.status)") == 401, "the end of the visit")
        inside.evaluate("location.reload()")
        expect(beside.get_by_role("heading")).to_have_text("Your sign-in has ended")
        with page.expect_popup() as other:
            beside.get_by_role("link", name="Sign in").click()
        expect(other.value).to_have_url(re.compile("/accounts/login/"))
        page.context.add_cookies([session(site, people.alice)])
        expect(beside.get_by_role("heading", name="Beam current")).to_be_visible()
