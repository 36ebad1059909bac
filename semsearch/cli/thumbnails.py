"""Pictures among the hits, drawn small in terminals that can: kitty's protocol, iTerm2's, and sixel.

Which a terminal speaks is told by its environment, as it can't be asked without waiting for its answer;
`SEMSEARCH_THUMBNAILS` says it otherwise: kitty, iterm2, sixel or off. What can't be read is left out: its name stands
there.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from semsearch.errors import SemsearchError
from semsearch.types import IMAGE_FORMAT, Hit

HEIGHT, WIDEST = 96, 384  # pixels of a picture
CHOSEN = "SEMSEARCH_THUMBNAILS"
KITTY, ITERM, SIXEL = "kitty", "iterm2", "sixel"
CHUNK_CHARACTERS = 4_096  # characters of a picture that kitty's protocol takes at a time
COLOURS = 64  # of a picture in sixel


def protocol(environment: Mapping[str, str] = os.environ) -> str | None:
    """What the terminal speaks; None for nothing."""
    said = environment.get(CHOSEN, "").lower()
    if said:
        return said if said in (KITTY, ITERM, SIXEL) else None
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):  # which hands such pictures on only when told to
        return None
    if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return KITTY
    if program in ("iTerm.app", "WezTerm"):
        return ITERM
    return SIXEL if term.startswith(("foot", "mlterm", "contour")) or "sixel" in term else None


def drawn(hits: list[Hit], how: str) -> Iterator[tuple[Hit, str]]:
    """The hits that are pictures, each with what draws it."""
    from semsearch.ingest.pictures import read_image

    for hit in hits:
        if IMAGE_FORMAT not in hit.metadata or (place := hit.place) is None or not Path(place.path).is_file():
            continue
        try:
            pixels = read_image(place.path)
        except SemsearchError:
            continue
        yield hit, picture(pixels, how)


def picture(pixels: Any, how: str) -> str:
    """What draws a picture `(height, width, 3)` small."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((WIDEST, HEIGHT))
    return {KITTY: _kitty, ITERM: _iterm, SIXEL: _sixel}[how](image)


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _kitty(image: Any) -> str:
    content = base64.b64encode(_png(image)).decode()
    chunks = [content[start : start + CHUNK_CHARACTERS] for start in range(0, len(content), CHUNK_CHARACTERS)]
    last = len(chunks) - 1
    said = [f"{'a=T,f=100,' if not place else ''}m={int(place < last)};{chunk}" for place, chunk in enumerate(chunks)]
    return "".join(f"\x1b_G{one}\x1b\\" for one in said)


def _iterm(image: Any) -> str:
    content = _png(image)
    size = f"size={len(content)};width={image.width}px;height={image.height}px"
    return f"\x1b]1337;File=inline=1;{size}:{base64.b64encode(content).decode()}\a"


def _sixel(image: Any) -> str:
    """Six rows of pixels at a time, a pass for each colour, runs of a character counted."""
    import numpy as np

    small = image.quantize(COLOURS)
    table = (small.getpalette() or [])[: 3 * COLOURS]
    places = np.asarray(small)
    parts = [f'\x1bPq"1;1;{image.width};{image.height}']
    for colour in range(len(table) // 3):
        red, green, blue = (round(100 * value / 255) for value in table[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, len(places), 6):
        band = places[top : top + 6]
        bits = 1 << np.arange(len(band))
        for colour in np.unique(band).tolist():
            parts.append(f"#{colour}{_runs(((band == colour) * bits[:, None]).sum(axis=0).tolist())}$")
        parts.append("-")
    return "".join(parts) + "\x1b\\"


def _runs(columns: list[int]) -> str:
    made, start = [], 0
    for place in range(1, len(columns) + 1):
        if place == len(columns) or columns[place] != columns[start]:
            letter, count = chr(63 + columns[start]), place - start
            made.append(f"!{count}{letter}" if count > 3 else letter * count)
            start = place
    return "".join(made)
