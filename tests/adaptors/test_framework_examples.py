"""The applications under `examples/frameworks` run as they are written, and find what they are there to find."""

import os
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"
EXPECTED = {
    "langchain_questions": ("langchain_core", "Treating a burn"),
    "llamaindex_filters": ("llama_index.core", "Database indexes"),
    "haystack_pipeline": ("haystack", "Treating a burn"),
    "mteb_task": ("mteb", "nDCG@10 of the model: 0.89"),
    "dspy_hops": ("dspy", "Hold the burn under cool running water"),
    "agent_with_tools": ("pydantic_ai", "treating-a-burn"),
    "frames": ("pandas", "Treating a burn"),
}


def test_all_of_them_are_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not os.environ.get("SEMSEARCH_FULL"), reason="`make adaptors` runs it")
@pytest.mark.parametrize("name", EXPECTED)
def test_an_application_finds_what_it_is_there_to_find(name, minilm, capfd):
    framework, expected = EXPECTED[name]
    pytest.importorskip(framework)
    assert runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    assert expected in capfd.readouterr().out
