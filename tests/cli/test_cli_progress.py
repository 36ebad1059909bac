"""Speed and time left, and what is shown where nobody watches."""

import io
from itertools import pairwise
from types import SimpleNamespace

import pytest
from support import tiny

import semsearch
from semsearch.cli.progress import Meter, Pace, duration
from semsearch.types import Document


class Clock:
    """Time that passes when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_speed_and_time_left():
    clock = Clock()
    pace = Pace(clock)
    assert (pace.speed, pace.left) == (0.0, None)
    pace.record(0, 0.0)
    clock.now += 10
    pace.record(500, 0.25)
    assert pace.speed == 50
    assert pace.left == pytest.approx(30)


def test_what_was_there_already_does_not_count_as_speed():
    clock = Clock()
    pace = Pace(clock)
    pace.record(0, 0.0)
    for second in range(100):  # the first half is unchanged and races by, then 20 texts a second
        clock.now += 1
        pace.record(20 * second, 0.5 + 0.001 * second)
    assert pace.speed == pytest.approx(20)
    assert pace.left == pytest.approx(0.401 / 0.001, rel=0.1)


def test_the_time_left_is_steady():
    """Batches take now 2 and now 8 seconds; what is told of the time left goes on much as a clock does."""
    clock = Clock()
    pace = Pace(clock)
    pace.record(0, 0.0)
    told = []
    for batch in range(1, 41):
        clock.now += 2 if batch % 2 else 8
        pace.record(100 * batch, batch / 200)
        told.append(clock.now + pace.left)  # when it will be done
    assert max(told[8:]) - min(told[8:]) < 100, "of a thousand seconds"
    moved = [abs(after - before) for before, after in pairwise(told[8:])]
    assert max(moved) < 25
    left = pace.left
    clock.now += 3
    assert pace.left == pytest.approx(left - 3), "between two batches too"


def test_the_time_left_is_unknown_where_all_was_read_ahead():
    clock = Clock()
    pace = Pace(clock)
    for texts in (0, 10, 20):
        pace.record(texts, min(1.0, texts / 5))
        clock.now += 10
    assert pace.left is None
    assert pace.speed == 1


def test_a_document_of_many_passages_shows_movement(monkeypatch, tmp_path):
    monkeypatch.setattr("semsearch.ingest.ingestion.BATCH_CHARACTERS", (2_000, 4_000))
    model = tiny.bert(tmp_path / "bert")
    seen = []
    text = " ".join(f"{word} {number}." for number in range(1_000) for word in ("whale", "bread"))
    with semsearch.create("long", encoder=str(model), home=tmp_path / "home") as collection:
        collection.add([Document("one", text)], progress=lambda step: seen.append(step.passages))
        assert seen[-1] == collection.count_passages()
        assert len(set(seen)) >= 4, seen
        assert seen == sorted(seen)
    with semsearch.create("whole", encoder=str(model), home=tmp_path / "home") as collection:
        monkeypatch.setattr("semsearch.ingest.ingestion.BATCH_CHARACTERS", (10_000_000, 10_000_000))
        collection.add([Document("one", text)])
        assert collection.count_passages() == seen[-1]


def test_time_left_is_unknown_for_a_pipe():
    clock = Clock()
    pace = Pace(clock)
    for texts in (0, 10, 20):
        pace.record(texts, 0.0)
        clock.now += 1
    assert pace.left is None
    assert pace.speed == 10


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, "-:--"), (0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_lines_for_programs_come_every_few_seconds(capsys):
    clock = Clock()
    with Meter("notes", lambda: (clock.now - 100) / 40, clock) as meter:
        for second in range(25):
            clock.now = 100.0 + second
            meter(SimpleNamespace(documents=10 * second, passages=20 * second, unchanged=0))
    assert capsys.readouterr().err.splitlines() == [
        "progress documents=100 passages=200 texts_per_s=20.0 left_s=30",
        "progress documents=200 passages=400 texts_per_s=20.0 left_s=20",
    ]


def test_reading_ahead_is_no_progress(capsys):
    clock = Clock()
    read = [0.1]
    with Meter("notes", lambda: read[0], clock) as meter:
        meter(SimpleNamespace(documents=100, passages=0, unchanged=0))
        read[0] = 0.5
        clock.now += 10
        meter(SimpleNamespace(documents=500, passages=0, unchanged=0))
        clock.now += 10
        meter(SimpleNamespace(documents=500, passages=800, unchanged=0))
    assert capsys.readouterr().err.splitlines() == [
        "progress documents=500 passages=0 texts_per_s=0.0",
        "progress documents=500 passages=800 texts_per_s=40.0 left_s=20",
    ]


def test_time_left_is_told_as_soon_as_the_reader_knows_its_place(capsys):
    clock, read = Clock(), [None]
    with Meter("notes", lambda: read[0], clock) as meter:
        meter(SimpleNamespace(documents=128, passages=0, unchanged=0))
        clock.now += 10
        read[0] = 0.25
        meter(SimpleNamespace(documents=128, passages=200, unchanged=0))
        for documents, passages in ((256, 210), (384, 220), (512, 230)):  # slower than the window is long
            clock.now += 40
            read[0] += 0.05
            meter(SimpleNamespace(documents=documents, passages=passages, unchanged=0))
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "progress documents=128 passages=200 texts_per_s=20.0 left_s=30"
    assert last == "progress documents=512 passages=230 texts_per_s=0.2 left_s=480"


def test_a_bar_on_a_terminal_leaves_nothing_behind(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with Meter("notes", lambda: 0.5) as meter:
        meter(SimpleNamespace(documents=1000, passages=1500, unchanged=0))
        meter._bar.refresh()
    shown = terminal.getvalue()
    assert "opening the model" in shown
    assert "1,000 documents" in shown
    assert "texts/s" in shown
    assert shown.rstrip("\n").endswith("\x1b[2K")
