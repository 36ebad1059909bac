"""The JSON of everything that programs are told: whole shapes, finite numbers, and documents there and back."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import semsearch
from semsearch import errors, wire
from semsearch.engine import Problem
from semsearch.errors import CollectionNotFound, DataError, SemsearchError
from semsearch.ingest.ingestion import IngestResult
from semsearch.ingest.sync import Synced
from semsearch.search.calibration import Calibration
from semsearch.search.recall import Certificate, Point
from semsearch.types import Document, Explanation, Hit, Part, Passage

DOCUMENT = Document(
    "d1", "Vor dem Essen. Brot braucht Wärme. 水は100度で沸く。", "Brot", {"year": 1990, "tags": ("a", "b")}
)


def hit(**given):
    facts = {"score": 0.5, "scores": {"dense": np.float32(0.5)}, "rank": 1, "key": 7, "found": ("exact", "lexical")}
    return Hit(Passage.of(DOCUMENT, 15, 34), **{**facts, **given})


def test_a_hit_with_nothing_but_its_passage():
    assert wire.hit(hit()) == {
        "id": "d1",
        "rank": 1,
        "score": 0.5,
        "scores": {"dense": 0.5},
        "title": "Brot",
        "text": "Brot braucht Wärme.",
        "start": 15,
        "end": 34,
        "metadata": {"year": 1990, "tags": ["a", "b"]},
    }


def test_a_hit_with_all_that_it_may_have():
    explanation = Explanation("found by exact search", 0.51, -0.01, [Part("text", 15, 19, 0.3)])
    full = hit(
        percentile=0.999,
        probability=0.75,
        context=Passage.of(DOCUMENT, 0, 34),
        explanation=explanation,
        ranks={"dense": 1, "lexical": 2},
    )
    found = wire.hit(full)
    assert list(found)[9:] == ["percentile", "probability", "context", "explanation"]
    assert found["percentile"] == 0.999
    assert found["probability"] == 0.75
    assert found["context"] == {"start": 0, "end": 34, "text": "Vor dem Essen. Brot braucht Wärme."}
    assert found["explanation"] == {
        "way": "found by exact search",
        "found": ["exact", "lexical"],
        "ranks": {"dense": 1, "lexical": 2},
        "cosine": 0.51,
        "difference": -0.01,
        "parts": [{"field": "text", "start": 15, "end": 19, "weight": 0.3}],
    }


def test_an_explanation_that_can_not_be_split_says_why():
    found = wire.hit(hit(explanation=Explanation("given by its vector", why="a distance is not a sum over tokens.")))
    assert found["explanation"] == {
        "way": "given by its vector",
        "found": ["exact", "lexical"],
        "ranks": {},
        "parts": None,
        "why": "a distance is not a sum over tokens.",
    }


def test_an_answer():
    assert wire.answer("brot?", [hit()], {"encode": 1.23456, "total": 2}) == {
        "schema": 1,
        "query": "brot?",
        "hits": [wire.hit(hit())],
        "notes": [],
        "timings_ms": {"encode": 1.235, "total": 2},
    }


def test_a_document_there_and_back():
    sent = wire.document(DOCUMENT)
    assert sent == {
        "id": "d1",
        "title": "Brot",
        "text": DOCUMENT.text,
        "metadata": {"year": 1990, "tags": ["a", "b"]},
    }
    assert wire.dumps(wire.document(wire.read_document(json.loads(wire.dumps(sent))))) == wire.dumps(sent)
    assert wire.read_document({"id": "x", "text": "y"}) == Document("x", "y")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["d1", "text"], "line 3: it must be an object with 'id' and 'text', but is a list."),
        (None, "line 3: it must be an object with 'id' and 'text', but is null."),
        ({"text": "y"}, "line 3: the id is missing."),
        ({"id": "x"}, "line 3: the text is missing."),
        (
            {"id": "x", "text": "y", "titel": "z"},
            "line 3: a document has no 'titel'; it has id, text, title, metadata.",
        ),
        ({"id": "x", "text": "y", "metadata": []}, "line 3: the metadata must be an object, but is a list."),
        ({"id": "x", "text": " "}, "line 3: the text is empty."),
        ({"id": 5, "text": "y"}, "line 3: the id must be text, but is a number."),
        ({"id": "x", "text": "y", "metadata": {"a": float("nan")}}, "line 3: the metadata, 'a', holds nan"),
    ],
)
def test_what_is_no_document_is_said(value, said):
    with pytest.raises(DataError) as caught:
        wire.read_document(value, "line 3")
    assert str(caught.value).startswith(said)


def test_changes_and_what_a_sync_did():
    changes = IngestResult(added=1, changed=2, unchanged=3, skipped=4, passages=5, truncated=6, vanished=9)
    told = {"added": 1, "changed": 2, "unchanged": 3, "skipped": 4, "passages": 5, "truncated": 6, "vanished": 9}
    assert wire.ingested(changes) == told
    assert wire.synced(Synced(changes, 7, 8, 9, ("so",))) == {
        **told,
        "removed": 7,
        "kept": 8,
        "outside": 9,
        "notes": ["so"],
    }


def test_a_certificate():
    point = Point(value=64, recall=0.97, p50=0.5, p99=1.5, qps=2000.0)
    made = Certificate(0.95, 10, True, "ef", 64, 0.97, 0.96, 500, "queries", (point,), "A recall of 0.95 is met.")
    assert wire.certificate(made) == {
        "target": 0.95,
        "k": 10,
        "met": True,
        "knob": "ef",
        "value": 64,
        "recall": 0.97,
        "certified": 0.96,
        "queries": 500,
        "source": "queries",
        "curve": [{"value": 64, "recall": 0.97, "p50": 0.5, "p99": 1.5, "qps": 2000.0}],
        "summary": "A recall of 0.95 is met.",
    }


def test_a_problem():
    assert wire.problem(Problem("vectors", "row 3 is damaged", "semsearch repair x")) == {
        "part": "vectors",
        "what": "row 3 is damaged",
        "fix": "semsearch repair x",
    }


def test_a_calibration():
    assert wire.calibration(Calibration("m", 100, 1000, (0.1, 0.2), 0.05, 3.0, -1.0, 40)) == {
        "model": "m",
        "passages": 100,
        "pairs": 1000,
        "scores": [0.1, 0.2],
        "mean_excess": 0.05,
        "slope": 3.0,
        "intercept": -1.0,
        "judged": 40,
    }


@pytest.mark.parametrize(
    ("kind", "shape", "apart"),
    [
        (IngestResult, wire.ingested(IngestResult()), set()),
        (Synced, wire.synced(Synced()), {"changes"}),
        (Problem, wire.problem(Problem("", "", "")), set()),
        (Document, wire.document(DOCUMENT), set()),
        (Calibration, wire.calibration(Calibration("", 0, 0, (), 0.0)), set()),
        (Certificate, wire.certificate(Certificate(1, 1, True, None, None, 1, 1, 1, "", (), "")), set()),
    ],
)
def test_no_field_is_forgotten(kind, shape, apart):
    assert {field.name for field in fields(kind)} - apart <= set(shape)


def test_an_error_is_its_kind_its_sentence_and_its_exit_code():
    error = CollectionNotFound("no collection 'x' here.")
    told = {"type": "CollectionNotFound", "message": "no collection 'x' here.", "exit_code": 4, "notes": []}
    assert wire.error(error) == {"schema": 1, "error": told}
    error.add_note("Nothing is committed yet.")
    assert wire.error(error)["error"]["notes"] == ["Nothing is committed yet."]


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_every_error_can_be_told(kind):
    assert issubclass(kind, SemsearchError)
    told = wire.error(kind("what was wrong."))["error"]
    assert (told["type"], told["message"], told["exit_code"]) == (kind.__name__, "what was wrong.", kind.exit_code)


# json.loads takes NaN and Infinity, which no other reader does
def strictly(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -np.inf, np.float32("nan"), np.float64("-inf")])
def test_what_is_not_finite_is_null_wherever_it_stands(bad):
    sick = hit(
        score=bad, scores={"dense": bad}, percentile=bad, explanation=Explanation("x", bad, bad, [Part("t", 0, 1, bad)])
    )
    (found,) = strictly(wire.dumps(wire.answer("q", [sick], {"total": bad})))["hits"]
    assert found["score"] is found["scores"]["dense"] is found["percentile"] is None
    assert found["explanation"]["cosine"] is found["explanation"]["parts"][0]["weight"] is None
    line = strictly(wire.dumps({"array": np.array([1, bad]), "deep": [{"x": (bad,)}], "fine": np.float32(0.5)}))
    assert line == {"array": [1, None], "deep": [{"x": [None]}], "fine": 0.5}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_value_is_one_line_of_json_and_utf8(value):
    text = wire.dumps(value)
    assert "\n" not in text
    text.encode()
    assert strictly(text) == wire.plain(value)


def test_half_a_surrogate_pair_is_escaped():
    assert wire.dumps({"file": "caf\udce9", "text": "é水"}) == '{"file": "caf\\udce9", "text": "é水"}'


@pytest.mark.slow
def test_it_stands_on_numpy_and_the_standard_library_alone():
    code = "import sys, semsearch.wire; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) - {*sys.stdlib_module_names, "semsearch", "numpy", "__main__"} <= _of_the_installation()
    own = "import sys, semsearch.wire; print(*sorted(name for name in sys.modules if name.startswith('semsearch.')))"
    loaded = subprocess.run([sys.executable, "-c", own], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.split(".")[1] in ("cli", "local", "ingest", "search", "encoder")]


def _of_the_installation():
    """What this Python loads by itself: hooks of editable installs."""
    code = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    return {*subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()}


def test_only_the_wire_writes_json_in_the_command_line():
    for path in (Path(semsearch.__file__).parent / "cli").glob("*.py"):
        assert "json.dumps" not in path.read_text("utf-8"), path.name
