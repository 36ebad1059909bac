"""DSPy: a program that looks things up twice, the second time with what it found, and asks a model where one is named.

Needs `pip install semsearch dspy`. Run it:
`python examples/frameworks/dspy_hops.py "how do I treat a burn?"`, or with a model that DSPy knows behind the question:
`… openai/gpt-4o-mini`
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # DSPy's client fetches a list of prices otherwise

import dspy

import semsearch
from semsearch.dspy import SemsearchRM

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


class Hops(dspy.Module):
    """Passages for a question, and for the question with the best of them; and an answer, where there is a model."""

    def __init__(self, hops: int = 2) -> None:
        super().__init__()
        self.hops = hops
        self.retrieve = dspy.Retrieve(k=3)
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        """What was found, best first, and what the model makes of it."""
        found: list[str] = []
        for _ in range(self.hops):
            query = f"{question} {found[0]}" if found else question
            found += [text for text in self.retrieve(query).passages if text not in found]
        answer = self.answer(context=found, question=question).answer if dspy.settings.lm else None
        return dspy.Prediction(passages=found, answer=answer)


def main(question: str = "how do I treat a burn?", model: str | None = None) -> list[str]:
    """Index the samples, and ask."""
    lines = (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()
    with tempfile.TemporaryDirectory() as home, semsearch.create("samples", home=home) as samples:
        samples.add(map(json.loads, lines))
        with dspy.context(rm=SemsearchRM(samples, mode="hybrid"), lm=dspy.LM(model) if model else None):
            said = Hops()(question=question)
    for passage in said.passages:
        print(f"  {passage[:100]}")
    if said.answer is not None:
        print(said.answer)
    return list(said.passages)


if __name__ == "__main__":
    main(*sys.argv[1:3])
