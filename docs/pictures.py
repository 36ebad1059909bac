"""Take the pictures of the page in docs/pictures, light and dark, with the collection of `make demo`.

Run it with `python docs/pictures.py`, where Playwright and a Chromium are.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "corpora" / "samples" / "samples.jsonl"
SEMSEARCH = [sys.executable, "-m", "semsearch"]
QUESTION = "my dog ate sweets"
SIZE = {"width": 1000, "height": 640}
PATIENT = 120_000  # milliseconds
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Index, serve, ask, take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SEMSEARCH_HOME": f"{folder}/collections", "SEMSEARCH_STATE": f"{folder}/state"}
        subprocess.run([*SEMSEARCH, "index", str(SAMPLES)], env=environment, check=True)
        serve = [*SEMSEARCH, "serve", "--port", "0", "--quiet"]
        with subprocess.Popen(serve, env=environment, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                take(server.stdout.readline().split()[-1])
            finally:
                server.terminate()


def take(url: str) -> None:
    """Both pictures of the page at that address."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    arguments = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=arguments)
        page = chromium.new_page(base_url=url, viewport=SIZE)
        page.set_default_timeout(PATIENT)
        ask(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            picture = HERE / "pictures" / f"page-{scheme}.png"
            page.screenshot(path=picture)
            print(f"{picture.name}: {picture.stat().st_size:,} bytes")
        chromium.close()


def ask(page: Page) -> None:
    """Ask as a person does, and look at the first result."""
    page.goto("/")
    page.wait_for_selector("#fields details", state="attached")
    page.fill("#query", QUESTION)
    page.wait_for_selector("#results > li")
    page.wait_for_selector("#results:not([aria-busy])")
    page.keyboard.press("ArrowDown")


if __name__ == "__main__":
    main()
