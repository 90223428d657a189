"""Debian's Chromium, for every test that looks at pages.

Where a real machine is opened in it, it is the whole browser; for the many tests of single pages its shell without
windows, which takes less than half of the processor's time.
"""

from __future__ import annotations

from playwright.sync_api import Browser, Playwright, expect

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # In place of Playwright's own list, which takes from frames the storage that browsers keep apart for them.
    "--disable-features=DestroyProfileOnBrowserClose,HttpsUpgrades,MediaRouter,OptimizationHints,PaintHolding,Translate",
]


CHROMIUM = "/usr/bin/chromium"
SHELL = "/usr/bin/chromium-headless-shell"

PATIENCE = 60_000
"""Milliseconds in which a page must come to show something, on a host that does much else."""


def launch(playwright: Playwright, program: str = CHROMIUM) -> Browser:
    expect.set_options(timeout=PATIENCE)
    return playwright.chromium.launch(executable_path=program, args=FLAGS)
