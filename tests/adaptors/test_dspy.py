"""DSPy asks a collection; what it gets has the members that it reads."""

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.dspy import SemsearchRM

ADAPTOR = "semsearch.dspy"
TEXTS = {"1": "the cat sleeps", "2": "the dog barks", "3": "water boils"}


@pytest.fixture
def notes(tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as made:
        made.add([semsearch.Document(identity, text, metadata={"n": 1}) for identity, text in TEXTS.items()])
        yield made


def test_passages(notes):
    (first, _) = SemsearchRM(notes, k=2)("cat sleeps")
    assert (first.long_text, first.pid, first.metadata) == ("the cat sleeps", "1", {"n": 1})
    assert first["text"] == first.text == "the cat sleeps"
    assert SemsearchRM(notes, k=2)("cat sleeps").passages[0] == "the cat sleeps"
    assert [one.pid for one in SemsearchRM(notes)(["cat sleeps", "dog barks"], k=1)] == ["1", "2"]
    with pytest.raises(semsearch.UsageError, match="no query"):
        SemsearchRM(notes)([])
    with pytest.raises(AttributeError):
        _ = first.nothing


@pytest.mark.filterwarnings("ignore")
def test_dspy_itself_retrieves(notes):
    dspy = pytest.importorskip("dspy", reason="dspy is not installed")
    with dspy.context(rm=SemsearchRM(notes)):
        assert dspy.Retrieve(k=1)("cat sleeps").passages == ["the cat sleeps"]


@pytest.mark.filterwarnings("ignore")
def test_dspys_own_tutorial_with_the_retriever_exchanged(notes):
    dspy = pytest.importorskip("dspy", reason="dspy is not installed")
    from dspy.utils import DummyLM

    search = SemsearchRM(notes, k=1)  # in place of dspy.retrievers.Embeddings

    class RAG(dspy.Module):
        def __init__(self):
            super().__init__()
            self.search = search  # optimisers copy programs with all that they hold
            self.respond = dspy.ChainOfThought("context, question -> response")

        def forward(self, question):
            context = self.search(question).passages
            return self.respond(context=context, question=question)

    # it answers by what the prompt holds, so that a passage must have reached it
    lm = DummyLM({text: {"reasoning": "as it says", "response": text} for text in TEXTS.values()})
    asked = [("cat sleeps", "the cat sleeps"), ("who barks", "the dog barks"), ("boils", "water boils")]
    examples = [dspy.Example(question=one, response=text).with_inputs("question") for one, text in asked * 10]

    def metric(example, prediction, trace=None):
        return example.response == prediction.response

    with dspy.context(lm=lm):
        evaluate = dspy.Evaluate(devset=examples, metric=metric, num_threads=16, display_progress=False)
        assert evaluate(RAG()).score == 100
        learnt = dspy.BootstrapFewShot(metric=metric, max_bootstrapped_demos=2).compile(RAG(), trainset=examples[:6])
        assert learnt.search is search
        assert len(learnt.respond.predictors()[0].demos) > 0
        assert learnt(question="cat sleeps").response == "the cat sleeps"


@pytest.mark.filterwarnings("ignore")
async def test_an_agent_of_dspys_has_it_as_a_tool(notes):
    dspy = pytest.importorskip("dspy", reason="dspy is not installed")
    from dspy.utils import DummyLM

    def search_notes(query: str) -> list[str]:
        return [one["text"] for one in SemsearchRM(notes)(query, k=1)]  # as of dspy.ColBERTv2

    call = {"next_thought": "I look", "next_tool_name": "search_notes", "next_tool_args": {"query": "cat sleeps"}}
    end = {"next_thought": "I know", "next_tool_name": "finish", "next_tool_args": {}}
    with dspy.context(lm=DummyLM([call, end, {"reasoning": "found", "answer": "it sleeps"}])):
        agent = dspy.ReAct("question -> answer", tools=[search_notes])
        said = await agent.acall(question="what does the cat do?")
    assert said.answer == "it sleeps"
    assert "the cat sleeps" in str(said.trajectory)
