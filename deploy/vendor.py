"""Copies the browser libraries that VISA serves from node_modules into static/vendor: the wanted files, unchanged.

Icons become one sprite, icons.svg: `<svg><use href="…/icons.svg#play"></use></svg>`; deploy/icons.txt names them.
"""

import json
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SVG = "http://www.w3.org/2000/svg"
WANTED = {
    "novnc/core": "@novnc/novnc/core",
    "novnc/vendor": "@novnc/novnc/vendor",
    "novnc/LICENSE.txt": "@novnc/novnc/LICENSE.txt",
    "xterm/xterm.mjs": "@xterm/xterm/lib/xterm.mjs",
    "xterm/xterm.css": "@xterm/xterm/css/xterm.css",
    "xterm/LICENSE": "@xterm/xterm/LICENSE",
    "xterm/addon-fit.mjs": "@xterm/addon-fit/lib/addon-fit.mjs",
    "modern-normalize/modern-normalize.css": "modern-normalize/modern-normalize.css",
    "modern-normalize/LICENSE": "modern-normalize/license",
    "lucide/LICENSE": "lucide-static/LICENSE",
}


def main() -> int:
    copy_libraries(ROOT / "node_modules", ROOT / "static" / "vendor")
    return 0


def copy_libraries(modules: Path, vendor: Path) -> None:
    """Fills `vendor` anew. Raises FileNotFoundError when a package lacks a file that is wanted."""
    shutil.rmtree(vendor, ignore_errors=True)
    for name, source in WANTED.items():
        target = vendor / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (modules / source).is_dir():
            shutil.copytree(modules / source, target)
        else:
            shutil.copy(modules / source, target)
    names = (ROOT / "deploy" / "icons.txt").read_text().split()
    (vendor / "icons.svg").write_bytes(sprite(modules / "lucide-static" / "icons", names))
    versions = {name: json.loads((modules / name / "package.json").read_text())["version"] for name in packages()}
    (vendor / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


def packages() -> list[str]:
    return sorted(json.loads((ROOT / "package.json").read_text())["dependencies"])


def sprite(icons: Path, names: list[str]) -> bytes:
    """One SVG with a <symbol> for each icon; colour and size come from the page (stroke is currentColor)."""
    ET.register_namespace("", SVG)
    whole = ET.Element(f"{{{SVG}}}svg")
    for name in names:
        drawing = ET.parse(icons / f"{name}.svg").getroot()  # noqa: S314 - our own locked dependency
        kept = {key: value for key, value in drawing.attrib.items() if key not in ("class", "width", "height")}
        ET.SubElement(whole, f"{{{SVG}}}symbol", kept, id=name).extend(list(drawing))
    return ET.tostring(whole)


if __name__ == "__main__":
    sys.exit(main())
