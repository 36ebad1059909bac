"""Questions to train on: files, clicks, the documents themselves; how they are split; what looks like an answer."""

import json

import numpy as np
import pytest
from support import synonyms
from support.fakes import HashEncoder

from semsearch.errors import DataError
from semsearch.training.clicks import read_clicks
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.hard_negatives import MARGIN, Example, Miner, batches
from semsearch.training.pseudo_questions import pseudo_questions
from semsearch.training.split import PARTS, alike, apart, parted, split
from semsearch.training.training_questions import TrainingQuestions, read_pairs, read_questions
from semsearch.types import Document, Metric


def corpus_of(*documents):
    return TrainingCorpus.of(list(documents), HashEncoder(), passages=False)


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(*synonyms.documents())


def asked(count, answers=lambda number: [f"d{number}"], text=None):
    words = list(synonyms.questions().values())
    texts = {f"q{number}": text(number) if text else words[number] for number in range(count)}
    return TrainingQuestions(texts, {f"q{number}": dict.fromkeys(answers(number), 1) for number in range(count)})


# ---- files ----------------------------------------------------------------------------------------------------------


def test_judgements_of_strange_documents_and_questions_are_counted(corpus, tmp_path):
    queries, qrels = synonyms.files(tmp_path)
    with qrels.open("a") as file:
        file.write("q0\tgone\t1\nq1\tgone\t1\nnobody\td1\t1\n")
    found = read_questions(queries, qrels, corpus)
    assert len(found.texts) == synonyms.COUNT
    assert any("1 judged questions have no text" in one for one in found.said)
    assert any("2 judgements are of documents that the collection does not have" in one for one in found.said)
    qrels.write_text("q0\tgone\t1\n")
    with pytest.raises(DataError, match=r"no question of .* has a relevant document"):
        read_questions(queries, qrels, corpus)
    qrels.write_text("nobody\td1\t1\n")
    with pytest.raises(DataError, match="their ids must be the same"):
        read_questions(queries, qrels, corpus)


def test_pairs_find_their_documents_by_their_texts(tmp_path):
    corpus = corpus_of(
        Document("a", "Une  Réponse", title="A title"), Document("b", "another"), Document("c", "another")
    )
    file = tmp_path / "pairs.tsv"
    file.write_text(
        "question1\tquestion2\tis_duplicate\nwhy\tUNE réponse\t1\nWHY\tanother\t0\nhow\ta title\t1\nx\tz\t1\n"
    )
    found = read_pairs(file, corpus)
    assert sorted(found.texts.values()) == ["how", "why"]
    assert found.grades["pair-0"] == {"a": 1, "b": 0, "c": 0}
    assert found.said == ["1 of 4 pairs have a second text that is no document's."]
    file.write_text("sentence1\tsentence2\nwhy\tanother\n")
    assert read_pairs(file, corpus).answers("pair-0") == ["b", "c"]
    file.write_text("sentence1\tsentence2\nwhy\tnothing here\n")
    with pytest.raises(DataError, match="no pair"):
        read_pairs(file, corpus)


# ---- clicks ---------------------------------------------------------------------------------------------------------


def log(folder, *entries):
    file = folder / "clicks.jsonl"
    lines = [json.dumps({"query": query, "shown": shown, "clicked": clicked}) for query, shown, clicked in entries]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def test_what_was_passed_by_counts_against_and_what_stands_below_for_nothing(corpus, tmp_path):
    found = read_clicks(log(tmp_path, ("猫", ["d1", "d2", "d3"], ["d2"]), ("猫 ", ["d2", "d4"], ["d4"])), corpus)
    assert found.texts == {"click-0": "猫"}
    assert found.grades["click-0"] == {"d1": 0, "d2": 0, "d4": 1}, "d2 was passed by as often as it was clicked"
    assert found.weights == {("click-0", "d4"): pytest.approx(np.log2(3))}


def test_a_click_counts_by_how_seldom_its_rank_is_seen(corpus, tmp_path):
    shown = [f"d{number}" for number in range(40)]
    found = read_clicks(log(tmp_path, ("one", shown, ["d0"]), ("low", shown, ["d39"])), corpus)
    assert found.weights["click-0", "d0"] == 1
    assert found.weights["click-1", "d39"] == 4


def test_a_document_that_is_clicked_for_everything_is_left_out(corpus, tmp_path):
    entries = [(f"question {number}", ["d0", f"d{number}"], ["d0", f"d{number}"]) for number in range(1, 60)]
    found = read_clicks(log(tmp_path, *entries), corpus)
    assert all("d0" not in own for own in found.grades.values())
    assert len(found.texts) == 59
    assert any("'d0'" in one for one in found.said)
    with pytest.raises(DataError, match="one document was clicked for everything"):
        read_clicks(log(tmp_path, *((f"q {number}", ["d0"], ["d0"]) for number in range(50))), corpus)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"query": "", "shown": [], "clicked": []}', "'query' must be a text"),
        ('{"query": "a", "shown": "d1", "clicked": []}', "'shown' must be a list of ids"),
        ('{"query": "a", "shown": ["d1"], "clicked": [1]}', "'clicked' must be a list of ids"),
        ('{"query": "a", "shown": ["d1"], "clicked": ["d2"]}', "was clicked and is not among what was shown"),
        ('{"query": "a", "shown": ["d1"], "clicked": []}', "no question that clicks tell something about"),
    ],
)
def test_logs_that_are_none(line, said, corpus, tmp_path):
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=said):
        read_clicks(tmp_path / "log.jsonl", corpus)


# ---- the documents --------------------------------------------------------------------------------------------------


def test_what_becomes_a_question_is_taken_out_of_its_document():
    documents = [
        Document("t", "The cat sleeps.", title="On sleeping cats"),
        Document("h", "First words.\n## The second heading here\nMore words follow.\n"),
        Document("s", "One two three. Four five six. Seven eight nine. Ten eleven twelve."),
        Document("n", "Too short."),
        Document("j", "猫が寝る。", title="眠る猫についての長い話"),
    ]
    found, altered = pseudo_questions(documents, 0)
    kinds = {one.split(" ")[0] + one.rpartition(" ")[2]: text for one, text in found.texts.items()}
    assert kinds["titlet"] == "On sleeping cats"
    assert kinds["headingh"] == "The second heading here"
    assert kinds["sentences"] in documents[2].text
    assert kinds["titlej"] == "眠る猫についての長い話"
    rest = {document.id: document for document in altered}
    assert rest["t"].title == ""
    assert "heading" not in rest["h"].text
    assert kinds["sentences"] not in rest["s"].text
    assert rest["n"] == documents[3]
    with pytest.raises(DataError, match="nothing to take questions from"):
        pseudo_questions([documents[3]], 0)


# ---- the split ------------------------------------------------------------------------------------------------------


def sides(parts):
    return [set(part.texts) for part in (parts.train, parts.dev, parts.test)]


@pytest.mark.parametrize("seed", range(3))
def test_no_question_and_no_answer_is_on_both_sides(seed, corpus):
    rng = np.random.default_rng(seed)
    questions = asked(60, lambda number: {f"d{number}", *(f"d{one}" for one in rng.integers(0, 66, 3))})
    parts = split(questions, corpus, seed)
    train, dev, test = sides(parts)
    assert not train & dev and not train & test and not dev & test  # noqa: PT018  (one sentence)
    answers = [
        {document for one in part.texts for document in part.answers(one)}
        for part in (parts.train, parts.dev, parts.test)
    ]
    assert not answers[0] & answers[1]
    assert not answers[0] & answers[2]
    assert not answers[1] & answers[2]
    assert split(questions, corpus, seed) == parts


def test_questions_in_nearly_the_same_words_stay_together(corpus):
    texts = [f"how do the vaccines of number {number // 2} work{'?' * (number % 2)}" for number in range(60)]
    parts = split(asked(60, text=texts.__getitem__), corpus, 0)
    for part in sides(parts):
        numbers = {int(one[1:]) for one in part}
        assert {number ^ 1 for number in numbers} == numbers


def test_documents_that_say_the_same_are_one_answer():
    twins = [Document(f"d{number}", f"the document of {number // 2}") for number in range(120)]
    corpus = corpus_of(*twins)
    parts = split(asked(60, lambda number: [f"d{number}"]), corpus, 0)
    for part in sides(parts):
        numbers = {int(one[1:]) for one in part}
        assert {number ^ 1 for number in numbers} == numbers


def test_a_test_set_that_is_given_is_measured_on_and_its_copies_are_left_out(corpus):
    questions, test = asked(60), asked(20)
    test.grades = {one: {"d65": 1} for one in test.texts}
    parts = split(questions, corpus, 0, test)
    assert parts.test is test
    assert not (sides(parts)[0] | sides(parts)[1]) & set(test.texts)
    assert any("20 questions are nearly those of the test set" in one for one in parts.said)


def test_questions_that_tell_nothing_are_refused(corpus):
    with pytest.raises(DataError, match="too few"):
        split(asked(39), corpus, 0)
    with pytest.raises(DataError, match="one-sided"):
        split(asked(60, lambda number: ["d0"]), corpus, 0)
    copies = synonyms.documents()
    with pytest.raises(DataError, match="word for word"):
        split(asked(60, text=lambda number: copies[number].text.upper()), corpus, 0)
    parts = split(asked(60, text=lambda number: copies[number].text if number < 9 else f"so {number}"), corpus, 0)
    assert any("9 questions are their answers" in one for one in parts.said)


def test_texts_that_are_alike_are_all_found():
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(synonyms.ASKED, 6)) for _ in range(40)]
    texts = [*words, *(word + "!" for word in words)]
    found = set(alike(texts, texts))
    from semsearch.applications.wording import LEAST_JACCARD, folded, jaccard, shingles

    sets = [shingles(folded("", text)) for text in texts]
    pairs = [(one, other) for one in range(80) for other in range(one + 1, 80)]
    assert found == {pair for pair in pairs if jaccard(sets[pair[0]], sets[pair[1]]) >= LEAST_JACCARD}


def test_answers_of_held_out_questions_are_taken_away(corpus):
    train = asked(3, lambda number: ["d0", f"d{number}"])
    left, taken = apart(train, [asked(1)], corpus)
    assert (left.grades, taken) == ({"q1": {"d1": 1}, "q2": {"d2": 1}}, 3)
    assert left.withheld == {"q1": {"d0"}, "q2": {"d0"}}, "and are known not to be negatives"
    again, _ = apart(left.joined(train.only(["q0"]), "more "), [asked(2, lambda number: ["d1"])], corpus)
    assert again.withheld == {"q2": {"d0"}}


def test_dev_questions_are_drawn_as_the_test_set_is(corpus):
    questions = asked(60, lambda number: {f"d{number}", f"d{number % 7}"})
    fresh = asked(20, text=lambda number: f"another question of number {number * 1001}")
    parts = split(questions, corpus, 0, fresh)
    assert parts.shared
    assert any("drawn in the same way" in one for one in parts.said)
    assert not sides(parts)[0] & sides(parts)[1]
    assert all(parts.train.grades[one] == questions.grades[one] for one in parts.train.texts)
    withheld = split(questions, corpus, 0, fresh, withhold=True)
    answers = {document for one in fresh.texts for document in fresh.answers(one)}
    assert not withheld.shared
    for part in (withheld.train, withheld.dev):
        assert not answers & {document for one in part.texts for document in part.answers(one)}
    assert any(withheld.train.withheld.values())


@pytest.mark.parametrize("shared", [False, True])
def test_few_questions_are_all_chosen_by_in_turn(shared, corpus):
    questions = asked(60, lambda number: {f"d{number}", f"d{number // 2}"})
    fresh = asked(20, text=lambda number: f"another question of number {number * 1001}")
    parts = split(questions, corpus, 0, fresh if shared else None, crossing=True)
    assert parts.crossed
    assert parts.shared == shared
    assert parts.train.texts == parts.dev.texts
    folds = parted(parts, corpus, 0)
    assert len(folds) == PARTS
    assert sorted(one for _, dev in folds for one in dev.texts) == sorted(parts.dev.texts)
    for train, dev in folds:
        assert not set(train.texts) & set(dev.texts)
        answers = [{document for one in part.texts for document in part.answers(one)} for part in (train, dev)]
        assert shared or not answers[0] & answers[1]
    assert not split(asked(60), corpus, 0).crossed


# ---- negatives and batches ------------------------------------------------------------------------------------------


def test_negatives_are_near_and_no_answers():
    """Passages at known angles from the question: the answer, its neighbours, and what is judged."""
    cosines = [0.9, 0.88, 0.86, 0.8, 0.7, 0.6, 0.5]
    passages = np.zeros((len(cosines), 9), np.float32)
    for row, cosine in enumerate(cosines):
        passages[row, 0], passages[row, row + 1] = cosine, np.sqrt(1 - cosine**2)
    corpus = corpus_of(*(Document(f"d{row}", f"text {row if row != 4 else 3}") for row in range(len(cosines))))
    query = np.eye(9, dtype=np.float32)[:1]
    questions = TrainingQuestions({"q": "?"}, {"q": {"d0": 1, "d3": 2, "d6": 0}})
    miner = Miner(questions, ["q"], corpus, Metric.COSINE, 3)
    made = {one.answer: one for one in miner.examples(query, passages, np.random.default_rng(0))}
    assert set(made) == {0, 3}
    assert made[0].negatives == (6, 5), "6 is judged; 1 and 2 score nearly as high, 3 is an answer and 4 says the same"
    assert cosines[2] > MARGIN * cosines[0] > cosines[4]
    withheld = TrainingQuestions({"q": "?"}, {"q": {"d0": 1}}, withheld={"q": {"d5"}})
    (made,) = Miner(withheld, ["q"], corpus, Metric.COSINE, 4).examples(query, passages, np.random.default_rng(0))
    assert made.negatives == (3, 4, 6), "5 answers a held-out question as well: it is no answer here and no negative"
    assert Miner(withheld, ["q"], corpus, Metric.COSINE, 4).judged(0) == {0, 5}, "nor is it one of others in a batch"


class Knows:
    """A teacher that takes one passage for an answer."""

    def scores(self, question, texts):
        return np.array([4.0 if text == "text 4" else 0.0 if "0" not in text else 3.0 for text in texts])

    def shares(self, scores):
        return 1 / (1 + np.exp(-scores))


def test_a_teacher_filters_negatives_and_its_scores_go_along():
    corpus = corpus_of(*(Document(f"d{row}", f"text {row}") for row in range(6)))
    rng = np.random.default_rng(1)
    passages = np.eye(6, dtype=np.float32) + 0.1 * rng.random((6, 6), dtype=np.float32)
    miner = Miner(TrainingQuestions({"q": "?"}, {"q": {"d0": 1}}), ["q"], corpus, Metric.DOT, 3, Knows())
    (made,) = miner.examples(passages[:1], passages, rng)
    assert 4 not in made.negatives
    assert len(made.negatives) == 3
    assert made.taught == (3.0, 0.0, 0.0, 0.0)


def test_no_question_and_no_document_is_twice_in_a_batch():
    rng = np.random.default_rng(0)
    examples = [Example(int(rng.integers(12)), int(rng.integers(20)), ()) for _ in range(100)]
    owners = [key // 2 for key in range(20)]
    made = batches(examples, owners, 8, rng)
    for batch in made:
        assert 2 <= len(batch) <= 8
        assert len({one.question for one in batch}) == len(batch)
        assert len({owners[one.answer] for one in batch}) == len(batch)
    assert sum(map(len, made)) >= 95
