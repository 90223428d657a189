"""The examples of docs/api.md, run as they are written.

What needs a machine that answers is marked as bash there, and run by tests/desktops/shell/test_runs.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from instances.models import Instance
from tests import people
from visa_site.tokens import issue

GUIDE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
MARK = "--answer--"
EXAMPLES = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.S)


def run(example: str, **names: str) -> list[Any]:
    """What each call of the example answered, None for nothing. A call that is refused ends it."""
    commands = [line for line in example.splitlines() if not line.startswith("export ")]
    script = re.sub(r"\\\n", " ", "\n".join(commands)).replace("curl ", f"echo {MARK}; curl ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", **names},
    )  # fmt: skip
    assert done.returncode == 0, (example, done.stdout, done.stderr)
    return [json.loads(answer) if answer.strip() else None for answer in done.stdout.split(MARK)[1:]]


@pytest.mark.django_db(transaction=True)
def test_every_example_of_the_guide_works_in_its_order(live_server: Any) -> None:
    facility = people.facility()
    token = issue(facility.alice, days=30)[1]
    names = {"VISA": live_server.url, "TOKEN": token, "MACHINE": ""}
    names |= {"EXPERIMENT": str(facility.experiment.uuid), "BOB": str(facility.bob.uuid)}
    answers: list[Any] = []
    for example in EXAMPLES:
        answers += run(example, **names)
        made = Instance.objects.filter(name="Refinement").first()
        if made:
            Instance.objects.filter(pk=made.pk, state="building").update(state="active")
            names["MACHINE"] = str(made.uuid)
    assert len(answers) == "".join(EXAMPLES).count("curl ") == 30
    assert Instance.objects.get(uuid=names["MACHINE"]).state == "deleting"
    assert Instance.objects.get(uuid=names["MACHINE"]).name == "Second refinement"
    assert answers[1]["results"][0]["uuid"] == names["EXPERIMENT"]
