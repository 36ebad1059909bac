"""How soon a map is seen, and how long its frames take: a page of `semsearch map` in headless Chromium.

    semsearch map quora --out quora.html
    python benchmarks/map_in_browser.py quora.html [--opens 5] [--steps 60] [--size 1920x1080]

The page is opened anew several times, without a network; "first picture" is from the start of its navigation to the end
of the first drawing. Then it is moved with the mouse held down and zoomed by the wheel: a frame is what the page's own
drawing takes in `requestAnimationFrame`, on the processor, since it needs no graphics card; what the browser does to
show it comes on top, and stands beside it as the time between frames while moving.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

WATCH = """
window.drawn = []; window.shown = [];
const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (draw) => ask((when) => {
  const begun = performance.now();
  draw(when);
  window.drawn.push(performance.now() - begun);
  window.shown.push(begun);
});
"""
PATIENT = 120_000  # milliseconds


def opened(browser: Any, file: Path, size: tuple[int, int]) -> tuple[Page, float]:
    """The page in a fresh context, and the milliseconds until its first picture."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(file.absolute().as_uri())
    page.wait_for_function("performance.getEntriesByName('first picture').length > 0", timeout=PATIENT)
    return page, page.evaluate("performance.getEntriesByName('first picture')[0].startTime")


def frames(page: Page, steps: int, zooming: bool) -> dict[str, float]:
    """Milliseconds of drawing, and between the beginnings of frames, while the map is moved or zoomed."""
    page.evaluate("window.drawn = []; window.shown = []")
    middle = (500, 500)
    page.mouse.move(*middle)
    if not zooming:
        page.mouse.down()
    for step in range(steps):
        if zooming:
            page.mouse.wheel(0, -120 if step < steps / 2 else 120)
        else:
            page.mouse.move(middle[0] + step % 20 * 15 - 150, middle[1] + step % 13 * 10)
    if not zooming:
        page.mouse.up()
    page.wait_for_function("window.drawn.length > 2", timeout=PATIENT)
    drawn, shown = sorted(page.evaluate("window.drawn")), page.evaluate("window.shown")
    between = sorted(later - earlier for earlier, later in pairwise(shown))
    return {
        "frames": len(drawn),
        "drawing, median ms": round(statistics.median(drawn), 1),
        "drawing, 95 % ms": round(drawn[int(0.95 * (len(drawn) - 1))], 1),
        "between frames, median ms": round(statistics.median(between), 1) if between else 0.0,
    }


def main() -> None:
    """Measure one page, and print what came out as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--opens", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", default="1920x1080")
    asked = parser.parse_args()
    wide, high = map(int, asked.size.split("x"))
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    root = os.name == "posix" and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if root else [])
        firsts = []
        for _ in range(asked.opens):
            page, first = opened(browser, asked.file, (wide, high))
            firsts.append(first)
            last = page
        print(json.dumps({"file": asked.file.name, "bytes": asked.file.stat().st_size, "size": asked.size}))
        print(
            json.dumps({"first picture, median ms": round(statistics.median(firsts)), "worst ms": round(max(firsts))})
        )
        for zooming in (False, True):
            print(json.dumps({"what": "zooming" if zooming else "moving", **frames(last, asked.steps, zooming)}))
        browser.close()


if __name__ == "__main__":
    main()
