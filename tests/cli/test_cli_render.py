"""What people see: nothing that drives their terminal, lines of a readable width, the passage that was found."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from semsearch import wire
from semsearch.cli import render
from semsearch.cli.explain import words_of
from semsearch.cli.render import Answer, draw_document, draw_hits, show_facts, show_table, size
from semsearch.controls import one_line, printable
from semsearch.types import Document, Explanation, Hit, Part, Passage, Span


def drawn(draw, *arguments, width=80):
    """What a terminal of that width shows."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, highlight=False)
    draw(console, *arguments)
    return console.file.getvalue()


def hit(document, start=0, end=None, score=0.5, rank=1):
    passage = Passage.of(document, start, len(document.text) if end is None else end)
    return Hit(passage, score, {"dense": score}, rank, rank)


def test_a_hit_shows_rank_score_title_id_and_passage():
    document = Document("d1", "Water boils at 100 °C.", title="Water")
    lines = drawn(draw_hits, Answer("heat", [hit(document, score=0.8126)], {"total": 12.3})).splitlines()
    assert [line.rstrip() for line in lines] == [
        "  1  0.813  Water  d1",
        "            Water boils at 100 °C.",
        "     12 ms",
    ]


def test_without_a_title_the_id_stands_for_it():
    assert drawn(draw_hits, Answer("heat", [hit(Document("d1", "Water boils."))], {})).split("\n")[0].split() == [
        "1",
        "0.500",
        "d1",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_long_passages_are_cut_and_lines_keep_to_the_width(width):
    document = Document("d1" * 30, "boiling water " * 200, title="On heat " * 20)
    lines = drawn(draw_hits, Answer("heat", [hit(document)], {}), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[-1].rstrip().endswith("…")
    assert sum("boiling" in line for line in lines) == render.PASSAGE_LINES


def test_wide_characters_keep_to_the_width():
    from rich.cells import cell_len

    document = Document("d1", "水在一百度沸腾。" * 100)
    lines = drawn(draw_hits, Answer("heat", [hit(document)], {}), width=60).splitlines()
    assert max(map(cell_len, lines)) <= 60


def test_ellipses_say_that_the_document_goes_on():
    document = Document("d1", "One. Two. Three.")
    assert "… Two. …" in drawn(draw_hits, Answer("q", [hit(document, 5, 9)], {}))
    assert "… Three." in drawn(draw_hits, Answer("q", [hit(document, 10)], {}))


def test_a_strangers_text_can_not_drive_the_terminal():
    nasty = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe \r\x08 [bold]markup[/bold] :smile:"
    document = Document(nasty, f"before {nasty} after", title=nasty, metadata={"key\x1b": nasty})
    for shown in (
        drawn(draw_hits, Answer("q", [hit(document)], {})),
        drawn(draw_document, document, Span(0, 5)),
    ):
        assert not set(shown) & set("\x1b\x07\x9b\u202e\r\x08")
        assert "[bold]markup[/bold]" in shown
    assert printable("a\tb\nc\r\nd") == "a\tb\nc\nd"
    assert one_line(" a\tb\r\n\u2003c ") == "a b c"


def test_lines_for_programs_are_one_a_hit(capsys):
    document = Document("d\t1", "two\nlines\tand tabs", title="a\rb")
    render.show_answer(Answer("q", [hit(document)], {}))
    assert capsys.readouterr().out == "1\t0.500000\td 1\ta\ufffdb\ttwo lines and tabs\t\n"


def test_a_document_is_shown_whole():
    document = Document(
        "d1", "First line.\n\n  Second line.", title="Water", metadata={"year": 1990, "tags": ["a", "b"]}
    )
    lines = [line.rstrip() for line in drawn(draw_document, document).splitlines()]
    assert lines == ["Water", "d1", "year: 1990", 'tags: ["a", "b"]', "", "First line.", "", "  Second line."]


def test_the_passage_stands_out_in_its_document():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    draw_document(console, Document("d1", "One. Two. Three."), Span(5, 9))
    assert "\x1b[1mTwo.\x1b[0m" in console.file.getvalue()


def test_json_holds_what_the_terminal_can_not_show():
    document = Document("d1", "a\x1b[2J\n\u202eb")
    text = wire.dumps(wire.answer("q", [hit(document)], {"total": 1.23456}))
    assert "\n" not in text
    assert json.loads(text)["hits"][0]["text"] == "a\x1b[2J\n\u202eb"
    assert json.loads(text)["timings_ms"] == {"total": 1.235}


def test_tables_for_programs_and_for_people(capsys, monkeypatch):
    show_table(("name", "documents"), [("a", 1234), ("b", 5)])
    assert capsys.readouterr().out == "a\t1234\nb\t5\n"
    monkeypatch.setattr(render, "on_terminal", lambda: True)
    show_table(("name", "documents"), [("a", 1234), ("b", 5)])
    assert capsys.readouterr().out.split() == ["name", "documents", "a", "1,234", "b", "5"]


def test_facts_are_flattened_and_empty_ones_left_out_for_people(capsys, monkeypatch):
    facts = {"name": "a", "encoder": {"dim": 384}, "bytes": 1234567, "sources": [{"path": "x"}], "splitting": None}
    show_facts(facts)
    plain = capsys.readouterr().out
    assert plain == "name\ta\nencoder.dim\t384\nbytes\t1234567\nsources.1.path\tx\nsplitting\tnull\n"
    monkeypatch.setattr(render, "on_terminal", lambda: True)
    show_facts(facts)
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [["name", "a"], ["encoder", "dim", "384"], ["bytes", "1.2", "MB"], ["sources", "1", "path", "x"]]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (3 * 10**9, "3.0 GB"), (10**15, "1000.0 TB")],
)
def test_sizes(count, said):
    assert size(count) == said


def test_a_point_in_a_name_is_no_step_down(capsys, monkeypatch):
    facts = {"random scores": {"99.9 %": 0.5}}
    show_facts(facts)
    assert capsys.readouterr().out == "random scores.99.9 %\t0.5\n"
    monkeypatch.setattr(render, "on_terminal", lambda: True)
    show_facts(facts)
    assert capsys.readouterr().out.split() == ["random", "scores", "99.9", "%", "0.5"]


@pytest.mark.parametrize(
    ("text", "parts", "words"),
    [
        ("don't shout", [("don", 0.2), ("'", 0.1), ("t", 0.1), ("shout", 0.3)], {"don't": 0.4, "shout": 0.3}),
        ("日本語を話す", [("日本", 0.5), ("語", 0.1), ("話", 0.2)], {"日本": 0.5, "語": 0.1, "話": 0.2}),
        ("हिन्दी में", [("हिन", 0.5), ("दी", 0.1)], {"हिन्दी": 0.6}),
        ("state-of-the-art!", [("state", 0.5), ("art", 0.25), ("!", 0.1)], {"state-of-the-art": 0.75}),
    ],
)
def test_what_carried_a_hit_is_told_in_words_of_its_script(text, parts, words):
    placed = [Part("text", text.index(part), text.index(part) + len(part), weight) for part, weight in parts]
    found = replace(hit(Document("a", text)), explanation=Explanation("found", 0.5, 0.0, placed))
    assert {word.text: word.weight for word in words_of(found)} == pytest.approx(words)
