"""What users see first: a light import, and a complete list of public names."""

import inspect
import json
import subprocess
import sys

import pytest

import semsearch
from semsearch import errors
from semsearch.errors import SemsearchError

HEAVY = {
    "annoy",
    "faiss",
    "hnswlib",
    "huggingface_hub",
    "prompt_toolkit",
    "rich",
    "safetensors",
    "sqlalchemy",
    "tokenizers",
    "torch",
    "transformers",
}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in memory after a statement, in a fresh interpreter."""
    script = f"import sys, json; {statement}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_import_is_light():
    assert not loaded_by("import semsearch") & (HEAVY | {"click", "sqlite3"})


def test_an_opening_leaves_to_writing_and_searching_what_only_they_need(tmp_path):
    with semsearch.create("empty", encoder=None, dim=2, home=tmp_path):
        pass
    script = f"import sys, semsearch; semsearch.open('empty', home={str(tmp_path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    loaded = set(done.stdout.split())
    assert "semsearch.local.store.snapshot" in loaded
    later = (
        "encoder.load",
        "encoder.remote",
        "exchange",
        "ingest.ingestion",
        "local.index.build",
        "local.lexical.build",
    )
    later += ("local.maintenance", "parts", "search.analysis", "search.pipeline", "search.recall", "upkeep")
    assert not {f"semsearch.{name}" for name in later} & loaded
    assert not {"regex", "tarfile", "urllib.request"} & loaded


@pytest.mark.slow
def test_the_command_line_starts_light():
    assert not loaded_by("import semsearch.cli.main") & HEAVY


def test_all_is_sorted_and_complete():
    public = {
        name
        for name, value in vars(semsearch).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name not in ("annotations", "import_module")
    }
    public -= {"Any", "TYPE_CHECKING"}
    assert semsearch.__all__ == sorted(semsearch.__all__)
    assert public <= set(semsearch.__all__)
    for name in semsearch.__all__:
        assert getattr(semsearch, name) is not None
    assert dir(semsearch) == semsearch.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = semsearch.nothing


def test_public_classes_and_functions_are_documented():
    for name in semsearch.__all__:
        value = getattr(semsearch, name)
        assert inspect.getdoc(value), f"{name} has no docstring"
        for part, member in vars(value).items() if inspect.isclass(value) else ():
            if not part.startswith("_") and callable(member):
                assert inspect.getdoc(member), f"{name}.{part} has no docstring"


def test_info_tells_how_the_model_reads(tmp_path):
    from support import tiny
    from support.command_line import run

    folder = tiny.bert(tmp_path / "e5-small-v2")
    with semsearch.create("corpus", encoder=str(folder)) as collection:
        facts, fingerprint = collection.info()["encoder"], collection.encoder.fingerprint
    assert facts == {
        "name": str(folder),
        "revision": None,
        "fingerprint": fingerprint,
        "window": 60,
        "prompts": {"query": "query: ", "document": "passage: "},
        "prompts_from": "the table of families (E5)",
        "truncate_dim": None,
        "normalized": True,
        "modules": ["Transformer (bert)", "Pooling"],
    }
    shown = run("info", "corpus").out.splitlines()
    assert "encoder.prompts.query\tquery:" in [line.rstrip() for line in shown]
    assert "encoder.prompts.document\tpassage:" in [line.rstrip() for line in shown]


def test_every_error_and_result_is_public():
    raised = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, SemsearchError)
    }
    assert raised <= set(semsearch.__all__)
    assert set(semsearch._LAZY) <= set(semsearch.__all__)
    results = {
        "Calibration",
        "Certificate",
        "Compacted",
        "Explanation",
        "Hit",
        "IngestResult",
        "Passage",
        "Problem",
        "Synced",
    }
    assert results <= set(semsearch.__all__)
