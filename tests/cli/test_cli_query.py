"""`semsearch query`: which collection is meant, what programs get, how it ends."""

import json
import os
import subprocess

import pytest
from support.command_line import corpus, run, start, tiny_model

import semsearch
from semsearch.cli.query import resolve
from semsearch.errors import CollectionNotFound, UsageError
from semsearch.home import Home


@pytest.fixture
def notes(tmp_path):
    """A collection of forty documents."""
    ended = run("index", corpus(tmp_path), "-m", tiny_model(tmp_path / "model"))
    assert ended.code == 0, ended.err
    return "notes"


@pytest.fixture
def home(tmp_path):
    """A home with the folders that collections are known by."""

    def make(*names):
        for name in names:
            (tmp_path / "some" / name).mkdir(parents=True)
            (tmp_path / "some" / name / "marker").touch()
        return Home.of(tmp_path / "some")

    return make


def test_which_collection_is_meant(home):
    one = home("films")
    assert resolve([], one) == ("films", None)
    assert resolve(["films"], one) == ("films", None)
    assert resolve(["space ships"], one) == ("films", "space ships")
    assert resolve(["spaceships"], one) == ("films", "spaceships")
    assert resolve(["-"], one) == ("films", "-")
    assert resolve(["films", "films"], one) == ("films", "films")


def test_which_of_several_collections_is_meant(home):
    two = home("films", "books")
    assert resolve(["books"], two) == ("books", None)
    for words in ([], ["space ships"], ["-"]):
        with pytest.raises(UsageError, match=r"2 collections in .*some: books, films"):
            resolve(words, two)
    with pytest.raises(CollectionNotFound, match=r"no collection 'boks' in .*some\. There are: books, films"):
        resolve(["boks"], two)
    with pytest.raises(CollectionNotFound, match="boks"):
        resolve(["boks", "space"], two)
    with pytest.raises(UsageError, match=r"in quotes.*NAME \"space ships\""):
        resolve(["books", "space", "ships"], two)


@pytest.mark.parametrize("words", [[], ["space ships"], ["-"], ["films"], ["films", "ships"]])
def test_no_collection_is_there(home, words):
    with pytest.raises(CollectionNotFound, match="collection"):
        resolve(words, home())


def test_json_has_the_documented_shape(notes):
    ended = run("query", notes, "knead the dough", "-k", 3, "--json")
    assert (ended.code, ended.err) == (0, "")
    answer = json.loads(ended.out)
    assert list(answer) == ["schema", "query", "hits", "notes", "timings_ms"]
    assert answer["schema"] == 1
    assert answer["query"] == "knead the dough"
    assert list(answer["timings_ms"]) == ["encode", "search", "total"]
    assert answer["timings_ms"]["total"] >= answer["timings_ms"]["search"] > 0
    with semsearch.open(notes) as collection:
        expected = collection.search("knead the dough", k=3)
        file = collection.sources[0]["path"]
    assert len(answer["hits"]) == 3
    for hit, true in zip(answer["hits"], expected, strict=True):
        names = ["id", "rank", "score", "scores", "title", "text", "start", "end", "metadata"]
        assert list(hit) == [*names, "place", "matches", "percentile"]
        assert hit.pop("percentile") == true.percentile
        words = [true.text[begin - true.start : end - true.start] for begin, end in hit.pop("matches")["text"]]
        assert set(words) <= {"knead", "dough"}
        assert hit == {
            "id": true.document.id,
            "rank": true.rank,
            "score": true.score,
            "scores": {"dense": true.score},
            "title": "On the bread",
            "text": true.text,
            "start": true.start,
            "end": true.end,
            "metadata": dict(true.document.metadata),
            "place": {"path": file, "line": 1 + int(true.id[1:])},
        }


def test_plain_lines_are_parseable(notes):
    ended = run("query", notes, "whale storm", "-k", 4)
    rows = [line.split("\t") for line in ended.lines]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    assert {row[3] for row in rows} == {"On the ocean"}
    assert all(row[4].startswith("ocean ") and int(row[2][1:]) % 5 == 2 for row in rows)


def test_search_is_the_same_command(notes):
    assert run("search", notes, "whale", "-k", 2).lines == run("query", "whale", "-k", 2).lines


def test_queries_from_standard_input(notes):
    asked = b"whale storm\n\n  \nknead dough\r\nprune the hedge"
    ended = run("query", notes, "-", "-k", 2, stdin=asked)
    assert ended.code == 0
    assert [line.split("\t")[:2] for line in ended.lines] == [[q, r] for q in "145" for r in "12"]
    objects = [json.loads(line) for line in run("query", "-", "-k", 2, "--json", stdin=asked).lines]
    assert [each["query"] for each in objects] == ["whale storm", "knead dough", "prune the hedge"]
    for each in objects:
        alone = json.loads(run("query", notes, each["query"], "-k", 2, "--json").out)
        assert [hit["id"] for hit in alone["hits"]] == [hit["id"] for hit in each["hits"]]


def test_many_queries_from_standard_input(notes):
    asked = "".join(f"{word}\n" for word in ("whale", "dough", "pedal") * 300)
    lines = run("query", notes, "-", "-k", 1, stdin=asked.encode()).lines
    assert [line.split("\t")[0] for line in lines] == [str(number) for number in range(1, 901)]
    assert {line.split("\t")[5].split()[0] for line in lines[::3]} == {"ocean"}


def test_what_was_asked_before_a_broken_line_is_answered(notes):
    ended = run("query", notes, "-", "-k", 1, stdin=b"whale\nd\xf6ner\nbread\n")
    assert ended.code == 3
    assert len(ended.lines) == 1
    assert "standard input, line 2: byte 0xf6 at 1 is not UTF-8" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-k", "0", "whale"], 2, "0 is not in the range x>=1"),
        (["-k", "some", "whale"], 2, "'some' is no whole number"),
        (["notes", " "], 2, "the query is empty"),
        (["notes", "\udcff"], 2, r"'\udcff' is not UTF-8 text"),
        (["notes", "--json"], 2, "--json needs a query"),
        (["other", "whale"], 4, "There is: notes."),
        (["notes", "whale", "--device", "abacus"], 2, "'abacus' names no device"),
    ],
)
def test_what_can_not_be_asked(notes, arguments, code, message):
    ended = run("query", *arguments)
    assert ended.code == code
    assert ended.out == ""
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


def test_more_hits_than_documents(notes):
    assert len(run("query", notes, "whale", "-k", 1000).lines) == 40


def test_no_match_has_its_exit_code(notes):
    assert run("remove", notes, *(f"d{number}" for number in range(40))).code == 0
    ended = run("query", notes, "whale")
    assert (ended.code, ended.out, ended.err) == (1, "", "no match for 'whale'\n")
    ended = run("query", notes, "whale", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["hits"] == []
    assert run("query", notes, "-", stdin=b"whale\n").code == 1


def test_another_home(notes, tmp_path):
    ended = run("query", "whale", "--home", tmp_path / "nowhere")
    assert ended.code == 4
    assert f"{tmp_path / 'nowhere'}" in ended.err


@pytest.mark.slow
def test_a_broken_pipe_is_silent(notes):
    reading, writing = os.pipe()
    os.close(reading)
    process = start("query", notes, "whale", stdout=writing)
    os.close(writing)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")


@pytest.mark.slow
def test_an_answer_comes_before_the_next_question(notes):
    with start("query", notes, "-", "-k", "1", stdin=subprocess.PIPE) as process:
        for word in (b"whale", b"dough"):
            process.stdin.write(word + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().count(b"\t") == 6
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_passages_and_their_neighbours(notes):
    ended = run("query", notes, "knead the dough", "-k", 2, "--by-passage", "--context", 1, "--json")
    for hit in json.loads(ended.out)["hits"]:
        assert hit["context"] == {"start": hit["start"], "end": hit["end"], "text": hit["text"]}  # one passage each


def test_explanations_for_programs(notes):
    ended = run("query", notes, "knead the dough", "-k", 2, "--explain")
    for row in ended.out.splitlines():
        assert row.split("\t")[6].startswith("found by exact search; dense 0.")
    ended = run("query", notes, "knead the dough", "-k", 2, "--explain", "--json")
    for hit in json.loads(ended.out)["hits"]:
        assert hit["explanation"]["found"] == ["exact"]
        assert hit["explanation"]["parts"] is None


@pytest.mark.parametrize(("least", "code"), [("0.1", 0), ("2", 1), ("50%", 0), ("p0.5", 1), ("high", 2), ("101%", 2)])
def test_no_good_match_is_an_answer(notes, least, code):
    ended = run("query", notes, "knead the dough", "--min-score", least)
    assert ended.code == code
    assert bool(ended.out) == (code == 0)


def test_the_text_may_follow_an_option_whose_value_may_be_left_out(notes):
    ended = run("query", notes, "--rerank", "knead the dough")
    assert ended.code == 2  # the default reranker is not on this machine, and nothing stands in for it
    assert "ms-marco-MiniLM-L6-v2" in ended.err
    assert ended.out == ""


def test_similar(notes):
    ended = run("similar", notes, "d0", "-k", 3)
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert "d0" not in {row[2] for row in rows}
    assert {row[3] for row in rows} == {"On the bread"}
    assert run("similar", notes, "nothing").code == 1, "an id that is not there"
    both = run("similar", notes, "--query", "whale", "--against", "dough", "-k", 1, "--json")
    assert json.loads(both.out)["hits"][0]["title"] == "On the ocean"


def test_calibrate(notes):
    ended = run("calibrate", notes)
    assert ended.code == 0
    assert dict(line.split("\t") for line in ended.out.splitlines())["pairs"].isdigit()


def test_calibrate_on_judgements(notes, tmp_path):
    folder = tmp_path / "judged"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d0", "text": "as indexed"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "knead the dough"}\n{"_id": "q2", "text": "whale"}\n')
    rows = ["query-id\tcorpus-id\tscore", *(f"q1\td{5 * i}\t1" for i in range(5)), "q2\td2\t1"]
    (folder / "qrels" / "train.tsv").write_text("\n".join(rows) + "\n")
    assert run("calibrate", notes, folder).code == 0
    ended = run("query", notes, "knead the dough", "--json", "--min-score", "p0.01")
    hits = json.loads(ended.out)["hits"]
    assert all(0.01 <= hit["probability"] <= 1 for hit in hits)
    ended = run("calibrate", notes, folder, "--split", "test")
    assert ended.code == 2
    assert "judged has no judgements 'test' under qrels/; there are: train." in ended.err


def test_a_line_without_end_is_no_query(notes):
    ended = run("query", "notes", "-", "--json", stdin=b"oven\n" + b"a" * 4_000_001)
    assert (ended.code, len(ended.lines)) == (3, 1)
    assert "standard input, line 2: longer than 1,000,000 characters" in ended.err
