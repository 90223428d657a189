"""JupyterLab 4 in a real machine of the full image, through VISA's own proxy and origin: `make test-full`.

The machine is emulated: a kernel takes half a minute to start, and all tests together about as long as a lunch break.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.lab import (
    ALL,
    AWAY,
    COUNTS,
    beside,
    everywhere,
    here_with,
    opened,
    run_cell,
    told_of_the_cut,
    write_into,
)  # fmt: skip
from tests.flows.conftest import new_desk, sign_in, signed_in
from tests.flows.installation import VARIANT, Installation, Person
from tests.flows.lab import PATIENCE, Lab, Memory, no_network, shot
from tests.flows.machine import inside
from tests.servers import wait_until

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(VARIANT != "full", reason="needs a machine of the full image: make test-full"),
]

SECONDS = PATIENCE / 1000
SIZE = 2 * 1024**3
PIECE = 1024**2
FLAT = 64
"""MiB by which the web process may grow while gigabytes pass through it."""


@pytest.fixture(scope="module")
def lab(visa: Installation, chromium: Browser) -> Iterator[Lab]:
    """Alice's machine of two processors, which has just drawn its desktop."""
    context = signed_in(chromium, visa, "alice")
    desk = new_desk(visa, context.new_page(), "Medium")
    desk.page.goto(visa.url)
    yield Lab(visa, desk.uuid, context)
    context.close()


def test_who_comes_early_is_told_and_jupyterlab_opens_by_itself(lab: Lab) -> None:
    page = lab.page(f"{lab.origin}/lab")
    starts = "The machine runs, and JupyterLab is starting. It opens here by itself."
    expect(page.get_by_role("status")).to_have_text(starts)
    shot(page, "starting")
    page.locator("#jp-main-dock-panel").wait_for()
    page.close()


def test_one_press_on_the_card_opens_it_without_its_token(lab: Lab) -> None:
    page = lab.page(lab.visa.url)
    tab = opened(page, PATIENCE)
    assert tab.url.startswith(f"{lab.origin}/lab")
    token = inside(lab.uuid, "cat /run/visa/jupyter-token").strip()
    assert len(token) > 20
    assert token not in tab.content()
    tab.locator(".jp-LauncherCard").first.wait_for(timeout=PATIENCE)
    shot(tab, "lab")
    tab.close()
    page.close()


def test_a_cell_runs_is_interrupted_and_the_kernel_starts_anew(lab: Lab) -> None:
    page = lab.notebook(
        "work.ipynb", "kept = 6 * 7; print(kept)", "import time; time.sleep(3600)", "print('kept' in dir())"
    )
    expect(run_cell(page, 0)).to_have_text("42", timeout=PATIENCE)
    output = run_cell(page, 1)
    page.get_by_text("| Busy").first.wait_for()
    for _ in range(2):
        page.keyboard.press("Escape")
        page.keyboard.press("i")
        page.keyboard.press("i")
    expect(output).to_contain_text("KeyboardInterrupt", timeout=PATIENCE)
    page.keyboard.press("0")
    page.keyboard.press("0")
    page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    expect(run_cell(page, 2)).to_have_text("False", timeout=PATIENCE)
    page.close()


SLIDER = "import ipywidgets; slider = ipywidgets.IntSlider(value=3, max=9); slider"
PLOT = "%matplotlib widget\nimport matplotlib.pyplot as plt\nplt.plot([1, 4, 2]); plt.show()"
INK = """canvas => new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
    .data.buffer)).size"""


def test_widgets_answer_and_a_plot_is_drawn(lab: Lab) -> None:
    page = lab.notebook("widgets.ipynb", SLIDER, "print(slider.value)", PLOT)
    run_cell(page, 0)
    page.get_by_role("slider").first.press("ArrowRight")
    expect(run_cell(page, 1)).to_have_text("4", timeout=PATIENCE)
    run_cell(page, 2)
    canvas = page.locator(".jupyter-matplotlib canvas").first
    wait_until(lambda: canvas.evaluate(INK) > 10, "a plot with axes and a line", SECONDS)
    shot(page, "widgets")
    page.close()


def test_five_megabytes_of_output_arrive_and_are_kept(lab: Lab) -> None:
    source = "print('\\n'.join(f'{i:06d} ' + 'x' * 92 for i in range(50_000)))"
    page = lab.notebook("large.ipynb", source, "print('alive')")
    expect(run_cell(page, 0)).to_contain_text("049999", timeout=PATIENCE)
    expect(run_cell(page, 1)).to_have_text("alive", timeout=PATIENCE)
    wait_until(
        lambda: "049999" in inside(lab.uuid, "tail -c 2000 ~alice/large.ipynb"), "the output on the disk", SECONDS
    )
    page.close()


def test_a_terminal_in_the_lab_is_the_owners(lab: Lab) -> None:
    page = lab.page(f"{lab.origin}/lab/workspaces/terminal")
    page.locator(".jp-LauncherCard", has_text="Terminal").click()
    page.locator(".jp-Terminal .xterm").click()
    page.keyboard.type("id -un > ~/by-terminal\n")
    wait_until(lambda: lab.on_disk("by-terminal") == "alice\n", "what was typed", SECONDS, every=1)
    shot(page, "terminal")
    page.close()


def test_the_list_of_extensions_says_what_is_installed(lab: Lab) -> None:
    page = lab.page(f"{lab.origin}/lab/workspaces/extensions")
    page.locator("li[data-id='extensionmanager.main-view']").click()
    for name in ("@jupyter/collaboration-extension", "jupyter-matplotlib", "jupyterlab-h5web"):
        expect(page.locator(".jp-extensionmanager-view").get_by_text(name).first).to_be_visible(timeout=PATIENCE)
    shot(page, "extensions")
    page.close()


def uploaded(page: Page, file: Path) -> None:
    """By the button of JupyterLab's file browser, which asks once more for files above 15 MB."""
    with page.expect_file_chooser() as chooser:
        page.get_by_title("Upload Files").first.click()
    chooser.value.set_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Upload").click()


def patterned(file: Path) -> str:
    """Two gigabytes, no two pieces of which are the same; the digest of the last piece."""
    with file.open("wb") as out:
        for number in range(SIZE // PIECE):
            out.write(number.to_bytes(8, "big") * (PIECE // 8))
    return hashlib.sha256((SIZE // PIECE - 1).to_bytes(8, "big") * (PIECE // 8)).hexdigest()


@pytest.fixture(scope="module")
def bob(lab: Lab, chromium: Browser) -> Iterator[Lab]:
    """The same machine in the browser of Bob, who may work there."""
    user = Person(lab.visa, "bob").get("me/")["uuid"]
    added = Person(lab.visa, "alice").post(f"instances/{lab.uuid}/members/", {"user": user, "role": "user"})
    assert added.status_code == 201, added.text
    context = signed_in(chromium, lab.visa, "bob")
    yield Lab(lab.visa, lab.uuid, context)
    context.close()


def at_the_shared_notebook(one: Lab) -> Page:
    page = one.page(f"{one.visa.url}/")
    page.goto(f"{one.origin}/lab/tree/shared.ipynb")
    page.locator(".jp-Notebook .jp-Cell").nth(1).wait_for()
    return page


def test_two_edit_one_notebook_by_name(lab: Lab, bob: Lab) -> None:
    lab.write_notebook("shared.ipynb", "first = 1", "second = 2")
    alices, bobs = at_the_shared_notebook(lab), at_the_shared_notebook(bob)
    write_into(alices, 0, "\nfrom_alice = 3")
    write_into(bobs, 1, "\nfrom_bob = 4; print(from_alice + from_bob)")
    everywhere("from_alice = 3", alices, bobs, patience=PATIENCE)
    everywhere("from_bob = 4", alices, bobs, patience=PATIENCE)
    run_cell(alices, 0)
    run_cell(bobs, 1)
    everywhere("7", alices, bobs, within=".jp-OutputArea-output", patience=PATIENCE)
    here_with(alices, "Bob Keller")
    here_with(bobs, "Alice Martin")
    shot(alices, "shared")
    alices.close()
    bobs.close()


def test_what_somebody_writes_who_only_watches_goes_nowhere(lab: Lab, bob: Lab) -> None:
    alices, bobs = at_the_shared_notebook(lab), at_the_shared_notebook(bob)
    user = Person(lab.visa, "bob").get("me/")["uuid"]
    changed = Person(lab.visa, "alice").patch(f"instances/{lab.uuid}/members/{user}/", {"role": "guest"})
    assert changed.status_code == 204, changed.text
    bobs.reload()
    bobs.locator(".jp-Notebook .jp-Cell").nth(1).wait_for()
    write_into(bobs, 0, "\nfrom_a_watcher = 5")
    run_cell(bobs, 0)
    write_into(alices, 0, "\nafter_that = 6")
    everywhere("after_that = 6", alices, bobs, patience=PATIENCE)
    wait_until(lambda: "after_that = 6" in lab.on_disk("shared.ipynb"), "the notebook on the disk", SECONDS, every=1)
    assert "from_a_watcher" not in alices.locator(".jp-Notebook").inner_text()
    assert "from_a_watcher" not in lab.on_disk("shared.ipynb")
    alices.close()
    bobs.close()


def test_twenty_seconds_without_a_network_lose_nothing(lab: Lab) -> None:
    page = lab.notebook("counts.ipynb", COUNTS, "kept = 1")
    output = run_cell(page, 0)
    expect(output).to_contain_text("0 1 2", timeout=PATIENCE)
    with no_network(lab.visa.port):
        told_of_the_cut(page, PATIENCE)
        write_into(page, 1, "\nmeanwhile = 2")
        page.wait_for_timeout(AWAY)
        assert "done" not in output.inner_text()
    expect(output).to_have_text(ALL, timeout=PATIENCE)
    page.keyboard.press("Control+s")
    wait_until(lambda: "meanwhile = 2" in lab.on_disk("counts.ipynb"), "what was written meanwhile", SECONDS, every=1)
    page.close()


def test_a_sign_in_that_ends_under_an_open_notebook_loses_nothing(lab: Lab) -> None:
    page = lab.notebook("open.ipynb", "in_the = 'kernel'; print(in_the)", "kept = 1")
    expect(run_cell(page, 0)).to_have_text("kernel", timeout=PATIENCE)
    other = lab.page(lab.visa.url)
    other.locator("header details.menu summary").last.click()
    other.get_by_role("button", name="Sign out").click()
    wait_until(lambda: page.evaluate("fetch('/api').then((answer) => answer.status)") == 401, "the end of the visit")
    write_into(page, 1, "\nunsaved = 2")
    page.keyboard.press("Control+s")
    expect(page.get_by_role("dialog")).to_contain_text("Your sign-in here has ended", timeout=PATIENCE)
    shot(page, "signed-out")
    page.keyboard.press("Escape")
    sign_in(other, lab.visa, "alice")
    opened(other, PATIENCE).close()
    page.keyboard.press("Control+s")
    wait_until(lambda: "unsaved = 2" in lab.on_disk("open.ipynb"), "what was not saved", SECONDS, every=1)
    write_into(page, 1, "\nprint('still in the', in_the)")
    expect(run_cell(page, 1)).to_have_text("still in the kernel", timeout=PATIENCE)
    other.close()
    page.close()


def test_an_hdf5_file_shows_its_structure_among_the_machines_files_and_itself_in_the_lab(lab: Lab) -> None:
    source = "import h5py, numpy\nwith h5py.File('scan.h5', 'w') as file:\n"
    source += "    file['entry/counts'] = numpy.arange(12.0).reshape(3, 4)\nprint('written')"
    page = lab.notebook("scan.ipynb", source, "")
    expect(run_cell(page, 0)).to_have_text("written", timeout=PATIENCE)
    files = lab.page(f"{lab.machine}files/")
    files.get_by_role("button", name="scan.h5").click()
    expect(files.locator("#preview-body")).to_contain_text("counts 3 × 4 · float64", timeout=PATIENCE)
    shot(files, "hdf5-preview")
    page.goto(f"{lab.origin}/lab/workspaces/hdf5")
    page.locator(".jp-DirListing-item", has_text="scan.h5").dblclick()
    shown = page.locator("#jp-main-dock-panel")
    shown.get_by_text("entry", exact=True).first.click()
    shown.get_by_text("counts", exact=True).first.click()
    shot(page, "h5web")
    page.close()
    files.close()


def test_a_busy_notebook_is_shown_on_the_machines_page_and_its_card(lab: Lab) -> None:
    page = lab.notebook("long.ipynb", "import time; time.sleep(3600)", "")
    run_cell(page, 0)
    shown = lab.page(lab.machine)
    expect(shown.locator(".kernels .busy")).to_contain_text("long.ipynb", timeout=PATIENCE)
    shown.goto(lab.visa.url)
    expect(shown.locator(".use-line")).to_contain_text("Working: long.ipynb", timeout=PATIENCE)
    shot(shown, "card")
    shown.close()
    page.close()


def test_desktop_and_jupyterlab_stand_side_by_side_on_the_machine(lab: Lab) -> None:
    """As on a first visit: JupyterLab would open with what earlier tests had before them, and without its files."""
    inside(lab.uuid, "find ~alice/.jupyter -name '*.jupyterlab-workspace' -delete")
    page = lab.page(f"{lab.machine}desktop/?beside=jupyter")
    expect(page.locator("#veil")).to_be_hidden(timeout=PATIENCE)
    frame = beside(page, PATIENCE)
    frame.locator(".jp-DirListing-item", has_text="work.ipynb").dblclick()
    frame.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
    frame.get_by_text("| Idle").first.wait_for()
    page.keyboard.press("Control+Enter")
    expect(frame.locator(".jp-OutputArea-output").first).to_have_text("42", timeout=PATIENCE)
    shot(page, "side-by-side")
    page.close()


def test_two_gigabytes_are_uploaded_in_the_lab_while_the_web_process_stays_as_it_is(lab: Lab, tmp_path: Path) -> None:
    digest = patterned(tmp_path / "run.raw")
    page = lab.page(f"{lab.origin}/lab/workspaces/uploads")
    page.locator(".jp-LauncherCard").first.wait_for()
    memory = Memory(lab.visa.pid("web"))
    uploaded(page, tmp_path / "run.raw")
    wait_until(
        lambda: inside(lab.uuid, "stat -c '%U %s' ~alice/run.raw") == f"alice {SIZE}\n", "all of it", 3000, every=5
    )
    assert memory.grown < FLAT
    assert digest in inside(lab.uuid, f"tail -c {PIECE} ~alice/run.raw | sha256sum")
    page.close()
