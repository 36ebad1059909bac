"""Topics as a page: one file, which needs no network."""

from __future__ import annotations

from markupsafe import Markup

from semsearch.applications.pages import page
from semsearch.applications.topics import Topic, Topics
from semsearch.controls import one_line, printable

WIDTH, HEIGHT = 200, 24  # of the course of a topic, in units of its picture


def topics_page(topics: Topics, name: str, over: str | None = None) -> str:
    """A page in HTML: a table of the topics with their course in time, and of each its words and passages."""
    inside = int(topics.clusters.sizes.sum())
    return page(
        "topics",
        scripted=False,
        name=one_line(name),
        topics=topics,
        over=one_line(over or ""),
        inside=inside,
        outside=len(topics.clusters.labels) - inside,
        course=_course,
        shown=printable,
    )


def _course(topic: Topic) -> Markup:
    """A bar for each period, the highest as high as the picture."""
    count, most = len(topic.over_time), max(topic.over_time, default=0)
    step = WIDTH / max(count, 1)
    bars = "".join(
        f"M{at * step:.2f} {HEIGHT}v-{HEIGHT * number / most:.2f}h{step * 0.9:.2f}V{HEIGHT}z"
        for at, number in enumerate(topic.over_time)
        if number
    )
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="documents over time">'
        '<path d="{}"/></svg>'
    ).format(WIDTH, HEIGHT, bars)
