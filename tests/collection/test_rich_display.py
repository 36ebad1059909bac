"""What notebooks show; nothing in a text comes to life there."""

import sys
import types

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.rich_display import is_notebook, told
from semsearch.testing.memory import MemoryHome
from semsearch.types import Document

EVIL = "<script>alert(1)</script> & $x$ \u202e"


@pytest.fixture
def notes(monkeypatch):
    monkeypatch.setattr(MemoryHome, "_engines", {})
    with semsearch.create("notes", encoder=HashEncoder(), home=":memory:") as collection:
        collection.add(
            [Document("<b>1</b>", f"cat {EVIL}", "T<i>", {"<u>": "<img src=x>"}), Document("2", "dog " * 300)]
        )
        yield collection


def test_hits(notes):
    shown = notes.search("cat", k=2)._repr_html_()
    assert shown.count("<tr>") == 3
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $x$ \ufffd" in shown
    assert "&lt;b&gt;1&lt;/b&gt;" in shown
    assert "&lt;u&gt;: &lt;img src=x&gt;" in shown
    assert not [tag for tag in ("<script", "<b>", "<i>", "<u>", "<img", "\u202e") if tag in shown]
    assert "tex2jax_ignore mathjax_ignore" in shown
    assert "dog dog" in shown
    assert "dog " * 150 not in shown
    assert "…" in shown


def test_one_hit_and_no_hit(notes):
    hits = notes.search("cat", k=1)
    assert hits[0]._repr_html_().count("<tr>") == 2
    none = notes.search('"nowhere at all"', k=1, mode="lexical", min_score=1e9)
    assert "no hits" in none._repr_html_()
    assert all(note in none._repr_html_().replace("&quot;", '"').replace("&#x27;", "'") for note in none.notes)
    assert "<table>" in notes.similar(["2"], 1)._repr_html_()


def test_a_collection(notes):
    shown = notes._repr_html_()
    assert "collection &#x27;notes&#x27;" in shown
    assert '<td style="text-align: left; vertical-align: top">documents</td>' in shown
    assert "HashEncoder" in shown
    with semsearch.create("mine", encoder=None, dim=2, home=":memory:") as mine:
        assert "searched by vectors alone" in mine._repr_html_()


def test_a_bar_is_shown_where_it_is_asked_for(notes, capsys):
    notes.add([Document("3", "water boils")], progress=True)
    assert "notes: 100%" in capsys.readouterr().err
    notes.add([Document("4", "bread rises")])
    notes.add([Document("5", "a bird sings")], progress=False)
    assert capsys.readouterr().err == ""
    steps = []
    notes.add([Document("6", "a fish swims")], progress=steps.append)
    assert steps[-1].documents == 1


def test_a_notebook_shows_one_by_itself(notes, capsys, monkeypatch):
    kernel = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    assert is_notebook()
    notes.add(Document(str(number), "water boils") for number in range(3, 8))
    assert "notes: 5 documents" in capsys.readouterr().err
    notes.add([Document("3", "water")], progress=False)
    assert capsys.readouterr().err == ""
    kernel.kernel = None  # IPython on a terminal
    assert not is_notebook()
    notes.add([Document("4", "water")])
    assert capsys.readouterr().err == ""


def test_a_bar_of_plain_numbers(capsys):
    with told(True, "notes", [1, 2, 3, 4]) as show:
        show(2)
        show(4)
    assert "notes: 100%" in capsys.readouterr().err


def test_reencoding_and_syncing_show_one(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("the cat sleeps\n")
    with semsearch.create("notes", encoder=HashEncoder()) as notes:
        notes.add_from(tmp_path / "a.txt", progress=True)
        assert "notes: 1 documents" in capsys.readouterr().err
        notes.sync(progress=True)
        assert "notes:" in capsys.readouterr().err
        notes.reencode(HashEncoder(8), progress=True)
        assert "notes: 100%" in capsys.readouterr().err
