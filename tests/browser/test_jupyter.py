"""JupyterLab in a real browser: one press from the card; and what a hostile notebook cannot do from its origin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from desktops.webapps.origins import Address
from instances.models import Instance
from instances.states import State
from tests.browser.conftest import Site, Visit, aside
from tests.desktops.webapps.conftest import put_behind
from tests.desktops.webapps.jupyter import TOKEN, Jupyter, jupyterlab
from tests.people import Facility

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LONG = 90_000
"""Milliseconds that JupyterLab may take to draw itself on a loaded machine."""

HOSTILE = "from IPython.display import HTML; HTML('<script>window.ran = document.cookie</script><b>all yours</b>')"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as running:
        empty: dict[str, Any] = {"metadata": {}, "outputs": [], "execution_count": None, "id": "a"}
        cell = {"cell_type": "code", "source": HOSTILE} | empty
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        (running.root / "hostile.ipynb").write_text(json.dumps(notebook))
        yield running


@pytest.fixture
def address(people: Facility, lab: Jupyter) -> Address:
    aside(put_behind, people.machine, lab.port)
    return Address(people.machine.uuid)


def opened(page: Page) -> Page:
    """JupyterLab in the tab that the button opens."""
    with page.expect_popup() as tab:
        page.get_by_role("button", name="JupyterLab").click()
    tab.value.locator("#jp-main-dock-panel").wait_for(timeout=LONG)
    return tab.value


def test_one_press_opens_jupyterlab_on_its_own_origin(
    people: Facility, address: Address, visit: Visit, site: Site
) -> None:
    tab = opened(visit(people.alice))
    assert tab.url.startswith(f"{address.origin}/lab")
    assert address.origin != site.url
    assert tab.evaluate("window.opener") is None
    assert TOKEN not in tab.content()
    tab.goto(f"{address.origin}/lab/tree/hostile.ipynb")
    tab.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=LONG)


def test_a_link_into_jupyterlab_leads_through_the_site_and_back(
    people: Facility, address: Address, visit: Visit
) -> None:
    page = visit(people.alice)
    page.goto(f"{address.origin}/lab/tree/hostile.ipynb")
    page.locator("#jp-main-dock-panel").wait_for(timeout=LONG)
    assert page.url == f"{address.origin}/lab/tree/hostile.ipynb"


def test_it_opens_by_itself_once_the_machine_is_there(people: Facility, address: Address, visit: Visit) -> None:
    page = visit(people.alice)
    aside(Instance.objects.filter(uuid=address.uuid).update, state=State.STARTING)
    page.goto(f"{address.origin}/lab")
    expect(page.get_by_role("status")).to_have_text("The machine is starting. JupyterLab opens here by itself.")
    aside(Instance.objects.filter(uuid=address.uuid).update, state=State.ACTIVE)
    page.locator("#jp-main-dock-panel").wait_for(timeout=LONG)


ATTACK = """async ([site, machine, other]) => {
    const tried = {};
    const attempt = async (name, work) => {
        try { tried[name] = String(await work()); } catch (error) { tried[name] = "failed: " + error.name; }
    };
    const include = {credentials: "include"};
    await attempt("cookies", () => document.cookie);
    await attempt("read", async () => (await fetch(`${site}/api/v1/instances/`, include)).text());
    await attempt("page", async () => (await fetch(`${site}/`, include)).text());
    const body = new URLSearchParams({confirmed: "yes"});
    const blind = {...include, method: "POST", mode: "no-cors", body};
    await attempt("blind", async () => (await fetch(`${site}${machine}reboot/`, blind)).type);
    await attempt("other", async () => (await fetch(`${other}/api/contents`, include)).text());
    await attempt("worker", () => navigator.serviceWorker.register("/files/hostile.ipynb"));
    await attempt("toss", () => { document.cookie = "visa=evil; domain=localhost; path=/"; return ""; });
    await attempt("overwrite", () => { document.cookie = "visa-app=evil; path=/"; return document.cookie; });
    const socket = (address) => new Promise((done) => {
        const opened = new WebSocket(address);
        opened.onopen = () => done("open");
        opened.onerror = () => done("refused");
    });
    const sockets = site.replace("http", "ws");
    await attempt("events", () => socket(`${sockets}/events/`));
    await attempt("screen", () => socket(`${sockets}${machine.replace("machines", "desktops")}screen/`));
    await attempt("frame", () => new Promise((done) => {
        const frame = document.createElement("iframe");
        frame.onload = () => { try { done(frame.contentWindow.document.body.innerText); } catch { done("closed"); } };
        frame.src = site;
        document.body.append(frame);
    }));
    return tried;
}"""


def test_a_hostile_notebook_does_not_reach_the_site_as_the_person(
    people: Facility, address: Address, visit: Visit, site: Site
) -> None:
    page = visit(people.alice)
    tab = opened(page)
    tab.goto(f"{address.origin}/lab/tree/hostile.ipynb")
    tab.locator(".jp-Notebook .jp-Cell").first.click(timeout=LONG)
    tab.get_by_text("| Idle").first.wait_for(timeout=LONG)
    tab.keyboard.press("Shift+Enter")
    tab.get_by_text("all yours", exact=True).wait_for(timeout=LONG)
    # Its script ran, with all that a script of this origin can have.
    assert "visa" not in tab.evaluate("window.ran")
    machine = f"/machines/{address.uuid}/"
    tried = tab.evaluate(ATTACK, [site.url, machine, Address(uuid4()).origin])
    assert "visa-app" not in tried.pop("cookies") + tried.pop("overwrite")
    assert tried.pop("frame") in {"closed", ""}
    assert (tried.pop("toss"), tried.pop("blind")) == ("", "opaque")
    assert tried.pop("worker").startswith("failed")
    assert (tried.pop("events"), tried.pop("screen")) == ("refused", "refused")
    assert set(tried.values()) == {"failed: TypeError"}, tried
    # The person is still who they were, and nothing has happened to the machine.
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your machines")
    assert "evil" not in {cookie.get("value") for cookie in tab.context.cookies(site.url)}
    assert aside(Instance.objects.get, uuid=address.uuid).state == State.ACTIVE
    assert tab.evaluate("fetch('/api').then(answer => answer.status)") == 200
