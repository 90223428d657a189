"""Draw the wallpaper: the rings and spots of a diffraction pattern on a dark blue ground, one spot in amber.

    python3 wallpaper.py FOLDER     writes WIDTHxHEIGHT.png for the usual screens, and large.png to be scaled for others

Few colours and flat areas on purpose: a VNC server sends such a picture in a fraction of what a photograph costs.
Standard library only; a picture is a palette PNG (https://www.w3.org/TR/png/).
"""

import math
import struct
import sys
import zlib
from pathlib import Path

GROUND, CREST, AMBER = (11, 27, 51), (122, 184, 224), (242, 165, 65)
SIZES = [(1280, 720), (1280, 800), (1366, 768), (1440, 900), (1600, 900), (1920, 1080), (1920, 1200), (2560, 1440)]
LARGE = (2560, 1600)
CENTRE = (0.70, 0.47)  # of width and height: the icons stand on the left
BEAMSTOP = 0.035  # radius in heights
# Powder rings of a face-centred cubic crystal, d ~ 1/sqrt(h^2 + k^2 + l^2), with falling intensity.
REFLECTIONS = [
    *((3, 0.50), (4, 0.34), (8, 0.26), (11, 0.30), (12, 0.14), (16, 0.10), (19, 0.17), (20, 0.14), (24, 0.12)),
    *((27, 0.10), (35, 0.09), (40, 0.07), (43, 0.06), (51, 0.05), (56, 0.04), (67, 0.035)),
]
FIRST_RING = 0.125  # radius of the first ring, in heights
SHADES = 128  # palette: ground to crest, then ground to amber
AMBER_SPOT = (11, 3)  # which spot of which reflection is the warm one


def radius_of(reflection: int) -> float:
    return FIRST_RING * math.sqrt(reflection / REFLECTIONS[0][0])


def shade_at(radius: float, pixel: float) -> int:
    """The shade of the rings at a radius; both in heights of the picture, `pixel` being the size of one."""
    if radius < BEAMSTOP:
        return 0
    width = max(0.0011, 0.75 * pixel)
    halo = 0.055 * math.exp(-(((radius - 0.26) / 0.17) ** 2))
    rings = sum(peak * math.exp(-(((radius - radius_of(n)) / width) ** 2)) for n, peak in REFLECTIONS)
    glow = sum(0.16 * peak * math.exp(-(((radius - radius_of(n)) / (9 * width)) ** 2)) for n, peak in REFLECTIONS)
    return min(SHADES - 1, round((SHADES - 1) * (halo + rings + glow)))


def rings(width: int, height: int) -> list[bytearray]:
    steps = 4  # a quarter of a pixel is fine enough for smooth edges
    centre_x, centre_y = round(width * CENTRE[0]), round(height * CENTRE[1])
    furthest = math.hypot(max(centre_x, width - centre_x), max(centre_y, height - centre_y))
    profile = [shade_at(i / steps / height, 1 / height) for i in range(int(furthest * steps) + 2 * steps)]
    across = [(x - centre_x) ** 2 for x in range(width)]
    sqrt = math.sqrt
    rows: dict[int, bytes] = {}  # by distance from the centre: the upper half mirrors the lower
    for distance in {abs(y - centre_y) for y in range(height)}:
        rows[distance] = bytes([profile[int(steps * sqrt(square + distance**2))] for square in across])
    return [bytearray(rows[abs(y - centre_y)]) for y in range(height)]


def spots(rows: list[bytearray], width: int, height: int) -> None:
    """Bragg spots of one grain: six or twelve on a ring, turned a little from ring to ring, weaker further out."""
    for number, (reflection, peak) in enumerate(REFLECTIONS):
        count = 6 if number % 3 else 12
        for spot in range(count):
            angle = 2 * math.pi * (spot / count) + 0.21 + 0.37 * number
            x = width * CENTRE[0] + height * radius_of(reflection) * math.cos(angle)
            y = height * CENTRE[1] + height * radius_of(reflection) * math.sin(angle)
            if (reflection, spot) == AMBER_SPOT:
                dot(rows, (x, y), height * 0.0072, 1.0, SHADES)
            else:
                dot(rows, (x, y), height * 0.003, min(0.95, 0.22 + 1.1 * peak), 0)


def dot(rows: list[bytearray], at: tuple[float, float], size: float, strength: float, ramp: int) -> None:
    """A round spot with soft edges, in the ramp of the palette that begins at `ramp`; it never darkens a ring."""
    x, y = at
    reach = int(3 * size) + 1
    for row in range(max(0, int(y) - reach), min(len(rows), int(y) + reach + 1)):
        for column in range(max(0, int(x) - reach), min(len(rows[0]), int(x) + reach + 1)):
            distance = math.hypot(column - x, row - y) / size
            shade = min(SHADES - 1, round((SHADES - 1) * strength * math.exp(-(distance**4) / 2)))
            if shade > rows[row][column] % SHADES:
                rows[row][column] = ramp + shade


def palette() -> bytes:
    ramps = ((GROUND, CREST), (GROUND, AMBER))
    return bytes(
        round(low + (high - low) * shade / (SHADES - 1))
        for start, end in ramps
        for shade in range(SHADES)
        for low, high in zip(start, end, strict=True)
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture(width: int, height: int) -> bytes:
    rows = rings(width, height)
    spots(rows, width, height)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = [chunk(b"IHDR", header), chunk(b"PLTE", palette()), chunk(b"IDAT", lines), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES:
        (folder / f"{width}x{height}.png").write_bytes(picture(width, height))
    (folder / "large.png").write_bytes(picture(*LARGE))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
