"""A map as a page: one file, which needs no network.

What came from documents goes into it compressed and in base64, whose letters end no script and begin no tag, and the
script makes nothing of it but text.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.pages import page
from semsearch.controls import one_line, printable

if TYPE_CHECKING:
    from semsearch.applications.document_map import DocumentMap

EDGE = 65_535  # places are whole numbers up to it; as a topic or a colour it is none
STANDING_CHARACTERS = 200  # of a passage that stands for a topic
NAME_CHARACTERS = 60  # of what is drawn


def map_page(found: DocumentMap) -> str:
    """The page in HTML."""
    return page(
        "map",
        scripted=True,
        name=one_line(found.name),
        points=len(found),
        topics=found.topics,
        legend=[] if found.field is None else list(found.colours),
        notes=[one_line(note) for note in found.notes],
        data=packed(_data(found)),
        words=packed(_json([[printable(one), text] for one, text in zip(found.ids, found.texts, strict=True)])),
        shown=printable,
    )


def packed(content: bytes) -> str:
    """Deflated, in base64."""
    return b64encode(zlib.compress(content, 9)).decode("ascii")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _data(found: DocumentMap) -> bytes:
    """The length of the head, the head in JSON, then x, y, topic and colour of all points, two bytes each."""
    anchors = _whole(found.anchors)
    topics = [
        {
            "name": one_line(topic.name)[:NAME_CHARACTERS],
            "words": one_line(" ".join(word.text for word in topic.words)),
            "standing": [printable((one.title or one.passage)[:STANDING_CHARACTERS]) for one in topic.standing],
            "x": x,
            "y": y,
        }
        for topic, (x, y) in zip(found.topics, anchors.tolist(), strict=True)
    ]
    head = {
        "points": len(found),
        "colours": len(found.colours),
        "ordered": found.ordered,
        "by": found.field,
        "legend": [] if found.field is None else list(found.colours),
        "topics": topics,
    }
    told = _json(head)
    places = _whole(found.places)
    columns = (places[:, 0], places[:, 1], _or_none(found.topic_of), _or_none(found.colour_of))
    return len(told).to_bytes(4, "little") + told + b"".join(column.astype("<u2").tobytes() for column in columns)


def _whole(places: NDArray[np.float32]) -> NDArray[np.int64]:
    """Places as whole numbers, the second coordinate downwards."""
    turned = np.stack([places[:, 0], 1 - places[:, 1]], axis=1)
    return np.clip(np.round(turned.astype(np.float64) * EDGE), 0, EDGE).astype(np.int64)


def _or_none(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where((numbers < 0) | (numbers >= EDGE), EDGE, numbers)
