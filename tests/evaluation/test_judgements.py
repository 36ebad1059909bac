"""Queries, judgements and runs, from every layout that people have them in."""

import gzip
import json

import pytest

from semsearch.errors import DataError, StorageError, UsageError
from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries, read_run, write_run

TEXTS = {"q1": "why does it rain", "2": "日本語の質問"}


def written(path, text, packed=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_queries_are_the_same_from_a_folder_json_lines_and_topics(tmp_path, packed, mark, end):
    gz = ".gz" if packed else ""
    lines = mark + "".join(json.dumps({"_id": key, "text": text}) + end for key, text in TEXTS.items())
    topics = mark + "".join(f"{key}\t{text}{end}" for key, text in TEXTS.items())
    assert read_queries(written(tmp_path / f"queries.jsonl{gz}", lines, packed)) == TEXTS
    assert read_queries(tmp_path) == TEXTS
    assert read_queries(written(tmp_path / f"topics.tsv{gz}", topics, packed)) == TEXTS
    assert read_queries(written(tmp_path / f"topics{gz}", topics, packed)) == TEXTS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1\twhat\n2\t\xff\n", r"topics, line 2: byte 0xff at offset \d+ of the file is not UTF-8"),
        (b"1\twhat\n2 why\n", "topics, line 2: expected an id, a tab and the text of a query, not '2 why'"),
        (gzip.compress(b"1\twhat\n" * 500, mtime=0)[:-20], "topics.*the gzip data ends too early"),
    ],
)
def test_what_is_no_topic_is_named_with_its_line(tmp_path, content, said):
    (tmp_path / "topics").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_queries(tmp_path / "topics")


def test_what_is_not_there_is_a_sentence(tmp_path):
    for read in (read_queries, read_qrels, read_run):
        with pytest.raises(DataError, match=r"nowhere can't be read: No such file or directory"):
            read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"queries\.jsonl can't be read"):
        read_queries(tmp_path)


def test_a_split_is_found_packed_or_not_or_the_others_are_named(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        qrels_file(tmp_path / "nowhere", "test")
    with pytest.raises(UsageError, match="has no judgements 'test' under qrels/; there are: none"):
        qrels_file(tmp_path, "test")
    dev = written(tmp_path / "qrels" / "dev.tsv", "q1\td1\t1\n")
    train = written(tmp_path / "qrels" / "train.tsv.gz", "q1\td1\t1\n", packed=True)
    assert (qrels_file(tmp_path, "dev"), qrels_file(tmp_path, "train")) == (dev, train)
    assert read_qrels(dev) == read_qrels(train) == {"q1": {"d1": 1}}
    with pytest.raises(UsageError, match="there are: dev, train"):
        qrels_file(tmp_path, "test")


def test_a_run_that_can_not_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"writing .* failed: .*Choose another place with --run-out"):
        write_run(tmp_path / "file" / "run.trec", {"q": {"d": 1.0}}, "x")
