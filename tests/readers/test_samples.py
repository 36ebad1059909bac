"""The corpus that is shipped: varied, clean, judged consistently, and found by the demonstration."""

import collections
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from semsearch.evaluation.judgements import read_qrels, read_queries
from semsearch.ingest.source import Source

FOLDER = Path(__file__).parents[2] / "corpora" / "samples"


@pytest.fixture(scope="module")
def passages():
    return list(Source.of(FOLDER / "samples.jsonl").read())


def test_there_are_hundreds_of_short_passages_on_many_subjects(passages):
    assert len(passages) >= 300
    subjects = collections.Counter(passage.metadata["subject"] for passage in passages)
    assert len(subjects) >= 40
    assert min(subjects.values()) >= 5
    for passage in passages:
        assert passage.title
        assert 35 <= len(passage.text.split()) <= 110, passage.id
        assert 2 <= len(re.findall(r"[.!?](?:\s|$)", passage.text)) <= 6, passage.id
        assert re.fullmatch(r"[a-z0-9-]+", passage.id)
    years = [passage.metadata["year"] for passage in passages if "year" in passage.metadata]
    assert len(years) >= 40
    assert all(isinstance(year, int) for year in years)


def test_no_passage_repeats_another(passages):
    """No template: no run of six words comes twice, and hardly any opening of three."""
    runs = collections.Counter()
    for passage in passages:
        words = re.findall(r"\w+", passage.text.lower())
        runs.update({" ".join(words[i : i + 6]) for i in range(len(words) - 5)})
    assert [run for run, count in runs.items() if count > 1] == []
    openings = collections.Counter(" ".join(passage.text.split()[:3]) for passage in passages)
    assert max(openings.values()) <= 2
    assert len({passage.title for passage in passages}) == len(passages)


def test_questions_are_judged_against_passages_that_exist_and_avoid_their_words(passages):
    queries, judged = read_queries(FOLDER), read_qrels(FOLDER / "qrels" / "test.tsv")
    known = {passage.id: passage for passage in passages}
    assert len(queries) >= 40
    assert judged.keys() == queries.keys()
    for query, grades in judged.items():
        assert max(grades.values()) == 2, query
        assert grades.keys() <= known.keys()
        assert set(grades.values()) <= {1, 2}
    common = {"the", "a", "an", "of", "in", "to", "and", "is", "it", "on", "for", "at", "do", "how", "what", "why", "i"}
    shared = [
        len(words & set(re.findall(r"\w+", known[best].text.lower()))) / len(words)
        for query, text in queries.items()
        for best in [max(judged[query], key=judged[query].__getitem__)]
        for words in [set(re.findall(r"\w+", text.lower())) - common]
    ]
    assert sum(shared) / len(shared) < 0.45


def test_files_are_small_and_one_record_a_line():
    for path in FOLDER.rglob("*.jsonl"):
        assert path.stat().st_size < 300_000
        for line in path.read_text(encoding="utf-8").splitlines():
            assert json.dumps(json.loads(line), ensure_ascii=False) == line or path.name == "queries.jsonl"


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="the demonstration is a shell script")
def test_the_demonstration_finds_what_it_asks_for(tmp_path, minilm):
    """As `make demo` runs it, in a copy of the tree, so that its home is the copy's."""
    shutil.copytree(FOLDER, tmp_path / "corpora" / "samples")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    run = subprocess.run(
        ["sh", "corpora/samples/demo.sh"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert "added 318, changed 0, unchanged 0, skipped 0" in run.stderr + run.stdout
    answers = dict(itertools.pairwise(re.split(r"\n\$ semsearch query samples (.*) -k 3\n", run.stdout)[1:]))
    for asked, found in (
        ("my dog ate sweets", "chocolate-and-dogs"),
        ("best way to study so that it sticks", "spaced-practice"),
        ("why does adding decimals on a computer give a tiny error", "floating-point-surprises"),
        ("who deciphered the writing of the pharaohs?", "the-rosetta-stone"),
    ):
        assert found in answers[f'"{asked}"']
    assert (tmp_path / ".semsearch" / "samples").is_dir()
