"""Real collections in a cluster answer as on this machine: the same documents, the same scores, the same nDCG."""

import ir_measures
import numpy as np
import pytest
from ir_measures import nDCG

import semsearch
from semsearch.evaluation.judgements import read_qrels, read_queries

pytestmark = [pytest.mark.cluster, pytest.mark.real]


def ndcg(found, qrels):
    run = {query: {hit.id: hit.score for hit in hits} for query, hits in found.items()}
    return ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10]


@pytest.mark.parametrize("corpus", ["nfcorpus", "scifact"])
def test_answers_are_those_of_the_local_engine(encoded, data, url, corpus):
    home, name = encoded(corpus)
    semsearch.copy(name, url, home=home)
    folder = data / corpus
    qrels = {query: own for query, own in read_qrels(folder / "qrels" / "test.tsv").items() if max(own.values()) > 0}
    texts = read_queries(folder)
    asked = {query: texts[query] for query in list(qrels)[:100]}
    qrels = {query: qrels[query] for query in asked}
    with semsearch.open(name, home=home) as here, semsearch.open(name, home=url) as there:
        for mode in ("dense", "lexical", "hybrid"):
            ours, theirs = (
                dict(zip(asked, one.search_many(list(asked.values()), k=20, mode=mode, exact=True), strict=True))
                for one in (here, there)
            )
            assert ndcg(theirs, qrels) == pytest.approx(ndcg(ours, qrels), abs=0.001), mode
            for query in asked:
                own, other = ours[query], theirs[query]
                assert [h.score for h in other] == pytest.approx([h.score for h in own], rel=3e-6, abs=3e-6), mode
                if mode == "dense":
                    assert [(h.id, h.score) for h in other] == [(h.id, h.score) for h in own]
            agree = [np.mean([a.id == b.id for a, b in zip(ours[q], theirs[q], strict=True)]) for q in asked if ours[q]]
            assert np.mean(agree) > 0.999, mode
