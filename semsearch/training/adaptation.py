"""Learning a question adapter: one matrix, from vectors that are there already, in a minute or two.

For each question the candidates' scores are `s = z + c (A q) · d`, where `z` is the first stage's score, standardised
over the candidates: what is learnt is what to add to the first stage. The loss is the cross-entropy of the softmax of
`s` with the relevant candidates ("ListNet" of Cao et al., 2007), by grade. `A` is the identity, a diagonal and a
product of low rank, both of which begin at 0. The epoch that does best on the held-out questions is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import DataError
from semsearch.reranker.adapter import AdaptedEncoder, Matrix
from semsearch.training.held_out import Evaluation, evaluate
from semsearch.training.judged import Judged
from semsearch.training.late import copy_encoder
from semsearch.training.mining import SCALE, MinedCandidates
from semsearch.types import Scores

EPOCHS = 8
QUESTIONS_OF_STEP = 16  # questions of a step
RANK = 64
RATE = 2e-3  # the highest; it falls to 0
DECAY = 1e-4
LEAST_STEPS = 100  # of all epochs together, where there are few questions

Data = Sequence[tuple[Judged, MinedCandidates]]


class _Adapter(torch.nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.left = torch.nn.Parameter(torch.randn(min(RANK, dim), dim) * 0.02)
        self.right = torch.nn.Parameter(torch.zeros(dim, min(RANK, dim)))
        self.diagonal = torch.nn.Parameter(torch.zeros(dim))

    def forward(self) -> Tensor:
        """`A`, (dim, dim)."""
        return torch.eye(len(self.diagonal)) + torch.diag(self.diagonal) + self.right @ self.left


def make(
    encoder: TextEncoder,
    data: Data,
    out: Path,
    depth: int,
    seed: int,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[AdaptedEncoder, list[Evaluation]]:
    """A reranker of an encoder and a learnt matrix, in the folder `out`, and what each epoch did; see `learn`."""
    matrix, evaluations = learn(data, depth, seed, say)
    best = max(evaluations, key=lambda one: one.score)
    made = AdaptedEncoder(encoder, matrix, name=out.name, weight=best.weight)
    copy_encoder(encoder, out)
    lines = [json.dumps({"evaluation": one.logged()}) for one in evaluations]
    (out / "training.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made.save(out)
    return made, evaluations


def learn(
    data: Data, depth: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> tuple[Matrix, list[Evaluation]]:
    """The matrix that does best on the held-out questions, and what each epoch did.

    Args:
        data: Judged questions with their candidates; of the first `depth` of each the order is learnt.
        depth: Candidates of a question.
        seed: Of all that is drawn.
        say: Is told how it goes.

    Raises:
        DataError: No training question has a relevant and another candidate among them.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    questions = [
        (place, query)
        for place, (judged, found) in enumerate(data)
        for query in judged.training
        if 0 < len(_relevant(judged, found, query, depth)) < len(_rows(found, query, depth))
    ]
    if not questions:
        raise DataError("no training query has a relevant document and another among its candidates: look deeper.")
    counts = np.bincount([place for place, _ in questions], minlength=len(data))
    chances = np.array([1 / counts[place] ** 0.5 for place, _ in questions])  # a data set counts by its root
    chances /= chances.sum()
    adapter = _Adapter(data[0][1].query_vectors.shape[1])
    optimizer = torch.optim.AdamW(adapter.parameters(), RATE, weight_decay=DECAY)
    of_epoch = max(1, len(questions) // QUESTIONS_OF_STEP, LEAST_STEPS // EPOCHS)
    best, evaluations = adapter().detach().numpy(), [_evaluated(data, adapter, 0, depth)]
    for step in range(1, EPOCHS * of_epoch + 1):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - (step - 1) / (EPOCHS * of_epoch))
        chosen = rng.choice(len(questions), QUESTIONS_OF_STEP, p=chances)
        matrix = adapter()
        drawn = [questions[at] for at in chosen.tolist()]
        losses = [_loss(matrix, data[place][0], data[place][1], query, depth) for place, query in drawn]
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % of_epoch:
            continue
        made = _evaluated(data, adapter, step, depth)
        say(f"step {step:,}: loss {loss.item():.3f}, held out nDCG@10 {made.first_stage:.3f} before, {made.score:.3f}")
        if made.score > max(one.score for one in evaluations):
            best = adapter().detach().numpy()
        evaluations.append(made)
    return np.ascontiguousarray(best, dtype=np.float32), evaluations


def _rows(found: MinedCandidates, query: int, depth: int) -> list[int]:
    return [row for row in found.rows[query, :depth].tolist() if row >= 0]


def _relevant(judged: Judged, found: MinedCandidates, query: int, depth: int) -> list[int]:
    grades = judged.grades[query]
    return [row for row in _rows(found, query, depth) if grades.get(row, 0) > 0]


def _loss(matrix: Tensor, judged: Judged, found: MinedCandidates, query: int, depth: int) -> Tensor:
    rows = _rows(found, query, depth)
    grades = torch.tensor([max(judged.grades[query].get(row, 0), 0) for row in rows], dtype=torch.float32)
    first = torch.from_numpy(found.scores[query, : len(rows)])
    vectors = torch.from_numpy(np.ascontiguousarray(found.vectors[rows]))
    added = SCALE * (vectors @ (matrix @ torch.from_numpy(found.query_vectors[query])))
    scores = (first - first.mean()) / (first.std(correction=0) + 1e-9) + added
    return -(grades / grades.sum() * scores.log_softmax(0)).sum()


def _evaluated(data: Data, adapter: _Adapter, step: int, depth: int) -> Evaluation:
    matrix = adapter().detach().numpy()

    def score(judged: Judged, found: MinedCandidates, query: int, rows: list[int]) -> Scores:
        scores: Scores = found.vectors[rows] @ (matrix @ found.query_vectors[query])
        return scores

    return evaluate(score, data, step, depth)
