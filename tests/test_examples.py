"""The examples run on the shipped samples, and find what they are there to find."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
EXPECTED = {
    "similar_questions": "spilled boiling water on my hand",
    "similar_publications": "Database indexes",
    "questions_to_passages": "Cooking",
    "retrieve_and_rerank": "Resting meat after roasting",
    "films_with_filters": "Heat",
    "own_notes": "today.md",
    "duplicates": "hash-tables  =  hash-tables-again",
}


def test_all_examples_are_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.real
@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_finds_what_it_is_there_to_find(name, minilm, capsys):
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    assert main()
    assert EXPECTED[name] in capsys.readouterr().out
