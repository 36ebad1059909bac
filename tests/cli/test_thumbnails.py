"""Thumbnails: which terminal speaks what, and what each is sent can be read back as the picture."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from support import image_checkpoints as shown

from semsearch.cli.thumbnails import CHUNK_CHARACTERS, HEIGHT, ITERM, KITTY, SIXEL, picture, protocol

PIXELS = np.asarray(shown.picture(3, (300, 200)))


@pytest.mark.parametrize(
    ("environment", "speaks"),
    [
        ({"TERM": "xterm-kitty"}, KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, KITTY),
        ({"TERM_PROGRAM": "ghostty"}, KITTY),
        ({"TERM_PROGRAM": "iTerm.app"}, ITERM),
        ({"TERM_PROGRAM": "WezTerm"}, ITERM),
        ({"TERM": "foot"}, SIXEL),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "xterm-kitty", "SEMSEARCH_THUMBNAILS": "off"}, None),
        ({"TERM": "xterm", "SEMSEARCH_THUMBNAILS": "sixel"}, SIXEL),
    ],
)
def test_what_a_terminal_speaks(environment, speaks):
    assert protocol(environment) == speaks


def test_kitty_is_sent_a_png_in_chunks():
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", picture(PIXELS, KITTY))
    assert parts[0][0].startswith("a=T,f=100,")
    assert [said[-1] for said, _ in parts] == ["1"] * (len(parts) - 1) + ["0"]
    assert all(len(content) <= CHUNK_CHARACTERS for _, content in parts)
    with Image.open(io.BytesIO(base64.b64decode("".join(content for _, content in parts)))) as image:
        assert image.size == (HEIGHT * 3 // 2, HEIGHT)


def test_iterm_is_sent_a_png_and_its_size():
    said = re.fullmatch(r"\x1b\]1337;File=inline=1;size=(\d+);width=144px;height=96px:(.*)\a", picture(PIXELS, ITERM))
    assert len(base64.b64decode(said[2])) == int(said[1])


def test_sixel_draws_every_pixel_in_about_its_colour():
    said = picture(PIXELS, SIXEL)
    assert said.startswith('\x1bPq"1;1;144;96')
    table = {int(n): tuple(map(int, rgb)) for n, *rgb in re.findall(r"#(\d+);2;(\d+);(\d+);(\d+)", said)}
    body = re.sub(r"#\d+;2;\d+;\d+;\d+", "", said[len('\x1bPq"1;1;144;96') : -2])
    drawn = np.full((96, 144, 3), -1.0)
    for top, band in enumerate(body.split("-")[:-1]):
        for colour, row in re.findall(r"#(\d+)([^#$]*)\$", band):
            cells = re.sub(r"!(\d+)(.)", lambda run: run[2] * int(run[1]), row)
            for x, cell in enumerate(cells):
                for bit in range(6):
                    if ord(cell) - 63 >> bit & 1:
                        drawn[6 * top + bit, x] = table[int(colour)]
    assert drawn.min() >= 0  # no hole
    expected = np.asarray(Image.fromarray(PIXELS).resize((144, 96))) / 2.55
    assert np.abs(drawn - expected).mean() < 6
