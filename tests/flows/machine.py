"""A real machine as a person before its page sees it, and as the guest agent sees it from within."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageChops
from playwright.sync_api import Page

from tests.flows.conftest import Desk
from tests.flows.installation import MACHINE_PATIENCE, virsh
from tests.servers import wait_until


def picture(page: Page) -> Image.Image:
    """What the page's canvas, the machine's screen, shows now."""
    data = page.locator("#screen canvas").evaluate("canvas => canvas.toDataURL('image/png').split(',')[1]")
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def colours(page: Page) -> int:
    """How many different colours the screen shows; none before the first picture came."""
    if not page.locator("#screen canvas").evaluate("canvas => canvas.width * canvas.height"):
        return 0
    return len(picture(page).getcolors(1 << 24) or [])


def changes(page: Page, act: Callable[[], object], at_least: int = 500) -> bool:
    """Whether `act` changes that many pixels of the machine's screen within two minutes, emulation being slow."""
    before = picture(page)

    def changed() -> bool:
        now = picture(page)
        return now.size != before.size or differing(before, now) >= at_least

    act()
    try:
        wait_until(changed, "a change on the screen", 120)
    except TimeoutError:
        return False
    return True


def differing(one: Image.Image, other: Image.Image) -> int:
    return sum(count for count, grey in ImageChops.difference(one, other).convert("L").getcolors(256) or [] if grey)


def at_rest(page: Page) -> bool:
    """Whether nothing is drawn any more: no change for two seconds but that of a clock."""
    before = picture(page)
    page.wait_for_timeout(2000)
    return differing(before, picture(page)) < 100


def at_work(desk: Desk) -> None:
    """Wait for a whole desktop; else the panel, drawn late, would pass for what a click did."""
    wait_until(lambda: inside(desk.uuid, "pgrep -x tint2"), "the panel", MACHINE_PATIENCE, every=1)
    wait_until(lambda: at_rest(desk.page), "a desktop at rest", MACHINE_PATIENCE)


def open_terminal(desk: Desk) -> None:
    at_work(desk)
    assert changes(desk.page, lambda: desk.page.keyboard.press("Control+Alt+t"), at_least=20_000)
    wait_until(lambda: inside(desk.uuid, "pgrep -u alice -x bash"), "a shell in a terminal", 60)
    wait_until(lambda: at_rest(desk.page), "a terminal at rest", 60)


def written(uuid: str, name: str, content: bytes) -> None:
    """A file in Alice's home, as if she had brought it along."""
    encoded = base64.b64encode(content).decode()
    inside(uuid, f"echo {encoded} | base64 -d > ~alice/{name}; chown alice: ~alice/{name}")


def inside(uuid: str, command: str) -> str:
    """What a shell command prints inside the machine, by way of the guest agent; nothing while it does not answer."""

    def ask(execute: str, **arguments: object) -> Any:
        question = json.dumps({"execute": execute, "arguments": arguments})
        return json.loads(virsh("qemu-agent-command", f"visa-{uuid}", question)[0])["return"]

    try:
        pid = ask("guest-exec", path="/bin/sh", arg=["-c", command], **{"capture-output": True})["pid"]
        answer: dict[str, Any] = {}

        def ended() -> bool:
            answer.update(ask("guest-exec-status", pid=pid))  # the agent tells the outcome once and forgets it
            return bool(answer["exited"])

        wait_until(ended, command)
        return base64.b64decode(answer.get("out-data", "")).decode()
    except subprocess.CalledProcessError:
        return ""
