"""What people do in JupyterLab, in a browser: the same whether it runs on this host or, much slower, in a machine."""

from __future__ import annotations

from playwright.sync_api import FrameLocator, Locator, Page, expect

LONG = 90_000
"""Milliseconds that JupyterLab may take to draw itself on a loaded machine."""

AWAY = 20_000
"""Milliseconds without a network."""

COUNTS = "import time\nfor i in range(24):\n    print(i, end=' ', flush=True)\n    time.sleep(1)\nprint('done')"
ALL = " ".join(str(i) for i in range(24)) + " done"


def opened(page: Page, patience: float = LONG) -> Page:
    """JupyterLab in the tab that the button opens."""
    with page.expect_popup() as tab:
        page.get_by_role("button", name="JupyterLab").click()
    tab.value.locator("#jp-main-dock-panel").wait_for(timeout=patience)
    return tab.value


def beside(page: Page, patience: float = LONG) -> FrameLocator:
    """JupyterLab beside the desktop."""
    frame = page.frame_locator("#beside iframe")
    frame.locator("#jp-main-dock-panel").wait_for(timeout=patience)
    return frame


def open_notebook(page: Page, origin: str, name: str, patience: float = LONG) -> None:
    """In a workspace of its own, so that nothing else is open there."""
    page.goto(f"{origin}/lab/workspaces/{name.partition('.')[0]}/tree/{name}")
    page.locator(".jp-Notebook .jp-Cell").nth(1).wait_for(timeout=patience)
    page.get_by_text("| Idle").first.wait_for(timeout=patience)


def write_into(page: Page, cell: int, text: str) -> None:
    page.locator(".jp-Notebook .jp-Cell .cm-content").nth(cell).click()
    page.keyboard.press("Control+End")
    page.keyboard.type(text)


def run_cell(page: Page, cell: int) -> Locator:
    """Have it run; where the first of its outputs appears."""
    page.locator(".jp-Notebook .jp-Cell .cm-content").nth(cell).click()
    page.keyboard.press("Control+Enter")
    return page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-OutputArea-output").first


def told_of_the_cut(page: Page, patience: float = LONG) -> None:
    """JupyterLab says once that it reaches nobody; read it, lest it come up in the middle of what is typed next."""
    dialog = page.get_by_role("dialog").filter(has_text="Server Connection Error")
    dialog.get_by_label("Do not show this message again").check(timeout=patience)
    dialog.get_by_role("button", name="Close").click()


def everywhere(text: str, *pages: Page, within: str = ".jp-Notebook", patience: float = LONG) -> None:
    for page in pages:
        expect(page.locator(within).last).to_contain_text(text, timeout=patience)


def here_with(page: Page, name: str) -> None:
    """Somebody's name is in the list of those who are there."""
    page.get_by_title("Collaboration", exact=True).first.click()
    expect(page.get_by_text(name).first).to_be_visible()
