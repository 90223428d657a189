"""JupyterLab in a real browser: one press from the card; and what a hostile notebook cannot do from its origin."""

from __future__ import annotations

from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from desktops.webapps.origins import Address
from instances.models import Instance
from instances.states import State
from tests.browser.conftest import Site, Visit, aside
from tests.browser.lab import LONG, beside, opened
from tests.browser.screens import Screen
from tests.desktops.webapps.jupyter import TOKEN, Jupyter, notebook
from tests.people import Facility
from tests.servers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.lab, pytest.mark.django_db(transaction=True)]

HOSTILE = "from IPython.display import HTML; HTML('<script>window.ran = document.cookie</script><b>all yours</b>')"


@pytest.fixture(scope="module", autouse=True)
def hostile(lab: Jupyter) -> None:
    notebook(lab.root, "hostile.ipynb", HOSTILE)


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


BREAK_OUT = """(evil) => {
    const tried = {};
    const attempt = (name, work) => {
        try { tried[name] = String(work()); } catch (error) { tried[name] = "failed: " + error.name; }
    };
    attempt("page", () => parent.document.body.innerText);
    attempt("lead", () => { top.location = evil; });
    attempt("replace", () => { parent.location.replace(evil); });
    attempt("window", () => window.open(evil, "_top"));
    attempt("link", () => {
        const link = Object.assign(document.createElement("a"), { href: evil, target: "_top" });
        document.body.append(link);
        link.click();
    });
    attempt("script", () => { top.location = "javascript:document.title = 'taken'"; });
    return tried;
}"""


def widths(page: Page) -> tuple[float, float]:
    """Of the desktop and of the application."""
    boxes = [page.locator(which).bounding_box() for which in ("main", "#beside")]
    assert boxes[0]
    assert boxes[1]
    return boxes[0]["width"], boxes[1]["width"]


def test_desktop_and_jupyterlab_stand_side_by_side(
    people: Facility, screen: Screen, address: Address, visit: Visit, site: Site
) -> None:
    page = visit(people.alice, f"/machines/{address.uuid}/")
    page.get_by_role("link", name="Desktop with JupyterLab").click()
    expect(page.locator("#veil")).to_be_hidden()
    lab = beside(page)
    (cookie,) = [one for one in page.context.cookies(address.origin) if one.get("name") == "visa-frame"]
    assert (cookie.get("sameSite"), cookie.get("secure"), cookie.get("httpOnly")) == ("None", True, True)
    # A kernel works in the frame: its socket is opened by the frame's cookie.
    lab.locator(".jp-DirListing-item", has_text="hostile.ipynb").dblclick(timeout=LONG)
    lab.get_by_text("| Idle").first.wait_for(timeout=LONG)
    lab.locator(".jp-Notebook .jp-Cell .cm-content").first.press("Shift+Enter", timeout=LONG)
    lab.get_by_text("all yours", exact=True).wait_for(timeout=LONG)
    # Its scripts neither read the page around them nor lead it elsewhere.
    (frame,) = [one for one in page.frames if one.url.startswith(address.origin)]
    tried = frame.evaluate(BREAK_OUT, f"{Address(uuid4()).origin}/evil")
    assert {tried[name] for name in ("page", "lead", "replace")} == {"failed: SecurityError"}, tried
    assert page.url == f"{site.url}/machines/{address.uuid}/desktop/?beside=jupyter"
    assert "taken" not in page.title()
    # The line between them, by pointer and by keys; a reload keeps it.
    line = page.get_by_role("separator")
    desktop, application = widths(page)
    assert abs(desktop - application) < 2
    line.hover()
    page.mouse.down()
    page.mouse.move(400, 300)
    page.mouse.up()
    wait_until(lambda: abs(widths(page)[0] - 400) < 8, "the line where the pointer left it")
    line.press("Home")  # wherever JupyterLab has put the focus meanwhile
    expect(line).to_have_attribute("aria-valuenow", "20")
    line.press("ArrowRight")
    expect(line).to_have_attribute("aria-valuenow", "22")
    page.reload()
    beside(page)
    expect(line).to_have_attribute("aria-valuenow", "22")
    # Each side can be closed.
    page.get_by_role("link", name="Close the desktop").click()
    page.locator("#jp-main-dock-panel").wait_for(timeout=LONG)
    assert page.url.startswith(f"{address.origin}/lab")
    page.go_back()
    beside(page)
    page.get_by_role("button", name="Close this side").click()
    expect(page.locator("iframe")).to_have_count(0)
    assert page.url == f"{site.url}/machines/{address.uuid}/desktop/"


def test_no_other_page_shows_jupyterlab_in_a_frame(people: Facility, address: Address, visit: Visit) -> None:
    tab = opened(visit(people.alice))
    evil = Address(uuid4()).origin
    body = f'<iframe src="{address.origin}/lab"></iframe>'
    tab.route(f"{evil}/*", lambda route: route.fulfill(body=body, content_type="text/html"))
    tab.goto(f"{evil}/")
    wait_until(lambda: [one.url[:12] for one in tab.frames[1:]] == ["chrome-error"], "the refusal")
