"""A map as a PNG, by matplotlib."""

from __future__ import annotations

import colorsys
import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from semsearch.errors import MissingDependency

if TYPE_CHECKING:
    from semsearch.applications.document_map import DocumentMap

INCHES, DOTS = 12.0, 150  # of an edge, and in an inch
NAMES_DRAWN = 40  # topics whose names are drawn, the largest
NAME_LENGTH = 40  # characters of one that is drawn
GREY = (0.6, 0.6, 0.6)


def map_picture(found: DocumentMap) -> bytes:
    """The PNG, the same each time."""
    try:
        from matplotlib import patheffects
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("a picture is drawn by matplotlib: pip install 'semsearch[map]'.") from error
    shades = np.array([*shades_of(len(found.colours), found.ordered), GREY])
    figure = Figure((INCHES, INCHES), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    size = float(np.clip(60_000 / max(len(found), 1), 0.6, 30))
    axes.scatter(
        found.places[:, 0], found.places[:, 1], s=size, c=shades[found.colour_of], linewidths=0, rasterized=True
    )
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for topic, (x, y) in list(zip(found.topics, found.anchors.tolist(), strict=True))[:NAMES_DRAWN]:
        name = topic.name if len(topic.name) <= NAME_LENGTH else topic.name[: NAME_LENGTH - 1] + "…"
        axes.text(x, y, name, ha="center", va="center", fontsize=8, parse_math=False, path_effects=halo)
    if found.field is not None:
        for name, shade in zip(found.colours, shades, strict=False):
            axes.scatter([], [], s=30, c=[shade], label=name.lstrip("_") or "_")
        legend = axes.legend(title=found.field, fontsize=7, loc="upper right")
        for text in (*legend.get_texts(), legend.get_title()):
            text.set_parse_math(False)
    made = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a script that the font lacks: an empty box is drawn
        figure.savefig(made, format="png", metadata={"Software": None})  # its version would make equal pictures differ
    return made.getvalue()


def shades_of(count: int, ordered: bool) -> list[tuple[float, float, float]]:
    """Colours as the page has them on white: hues a golden angle apart, or from blue to red."""
    shades = []
    for number in range(count):
        hue = 240 - 220 * number / max(count - 1, 1) if ordered else (number * 137.508 + 210) % 360
        lightness = 0.45 if ordered else 0.45 + (number % 3 - 1) * 0.08
        shades.append(colorsys.hls_to_rgb(hue / 360, lightness, 0.65))
    return shades
