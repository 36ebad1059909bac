"""Real collections in PostgreSQL answer as on this machine: the same documents, the same scores, the same nDCG."""

import ir_measures
import numpy as np
import pytest
from ir_measures import nDCG

import semsearch
from semsearch.evaluation.judgements import read_qrels, read_queries

pytestmark = [pytest.mark.postgres, pytest.mark.real]


def ndcg(found, qrels):
    run = {query: {hit.id: hit.score for hit in hits} for query, hits in found.items()}
    return ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10]


@pytest.mark.parametrize("corpus", ["nfcorpus", pytest.param("scifact", marks=pytest.mark.long)])
def test_answers_are_those_of_the_local_engine(encoded, data, url, corpus):
    home, name = encoded(corpus)
    semsearch.copy(name, url, home=home)
    compare(home, url, name, data / corpus)


def compare(home, url, name, folder):
    qrels = {query: own for query, own in read_qrels(folder / "qrels" / "test.tsv").items() if max(own.values()) > 0}
    texts = read_queries(folder)
    asked = {query: texts[query] for query in qrels}
    with semsearch.open(name, home=home) as here, semsearch.open(name, home=url) as there:
        for mode in ("dense", "lexical", "hybrid"):
            ours, theirs = (
                dict(zip(asked, one.search_many(list(asked.values()), k=100, mode=mode, exact=True), strict=True))
                for one in (here, there)
            )
            assert ndcg(theirs, qrels) == pytest.approx(ndcg(ours, qrels), abs=0.001), mode
            for query in asked:
                own, other = ours[query], theirs[query]
                assert [h.score for h in other] == pytest.approx([h.score for h in own], rel=2e-6, abs=2e-6), mode
                if mode == "dense":
                    assert [h.score for h in other] == [h.score for h in own]
                    assert [h.id for h in other] == [h.id for h in own]
                else:  # of scores that differ in the last digit of a float32 either may come first
                    assert len({h.id for h in other[:90]} - {h.id for h in own}) == 0
            agree = [np.mean([a.id == b.id for a, b in zip(ours[q], theirs[q], strict=True)]) for q in asked if ours[q]]
            assert np.mean(agree) > 0.999, mode
