"""The run that trains an encoder: passes over the questions, negatives mined anew before each, the best pass kept.

Each step is a function of the seed, its pass and its number, so a run that was killed goes on from its last checkpoint
as if it had not been. The held-out `dev` questions are asked before the first pass and after each: the weights that did
best on them are kept, among them those of before, and `patience` passes without a better one are the end. Weights
between those of before and those that were learnt are asked as well: they keep what was known and gain most of what was
learnt ("WiSE-FT"; Wortsman et al., 2022).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semsearch.errors import ModelError, UsageError
from semsearch.evaluation.metrics import Scored, scored
from semsearch.search.truth import Truth
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.hard_negatives import Example, Miner, batches
from semsearch.training.losses import Loss, divergence, in_batch_negatives, margins, nested, similarities
from semsearch.training.run_folder import begun_otherwise
from semsearch.training.trainable import Student, between, finite, state_of, take_state
from semsearch.training.training_questions import TrainingQuestions
from semsearch.training.waypoint import Waypoint, best_by_pass, best_of, best_of_trained
from semsearch.training.written import written
from semsearch.types import Metric, Vectors

WARMING = 0.1  # of the steps, over which the rate rises
CLIPPED = 1.0  # the norm of a gradient
DEV_DEPTH = 300  # passages that are looked at for the documents of a dev question
TEACHERS = ("kl", "margin")
HALF_WAY = 0.5  # the share at which the best pass of a student that has to encode everything anew is asked once more


@dataclass(frozen=True)
class EncoderRecipe:
    """All that decides a run beside the base, the collection and the questions."""

    epochs: int = 5  # passes, at most
    batch: int = 64  # questions of a step
    negatives: int = 2  # mined ones of each, beside all other answers of its step
    lr: float = 2e-5  # the highest
    scale: float = 20.0  # of cosines in a softmax: 1 divided by the temperature
    weight_decay: float = 0.01
    patience: int = 2  # passes that may be no better
    dims: tuple[int, ...] = ()  # leading components that must do by themselves ("Matryoshka")
    teacher: float = 0.5  # the share of a teacher's order in the loss, where there is one
    teacher_loss: str = "kl"
    checkpoint: int = 20  # steps from one to the next
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "checkpoint"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if self.batch < 2:
            raise UsageError(f"batch is {self.batch}; a question's negatives are the answers of the others: 2 or more.")
        if self.negatives < 0 or any(dim < 1 for dim in self.dims):
            raise UsageError("negatives and dims can't be negative.")
        for name in ("lr", "scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value}; it must be above 0.")
        if not 0 <= self.teacher <= 1:
            raise UsageError(f"teacher is {self.teacher}; it is a share, from 0 to 1.")
        if self.teacher_loss not in TEACHERS:
            raise UsageError(f"teacher_loss is {self.teacher_loss!r}; there are {' and '.join(TEACHERS)}.")


@dataclass(frozen=True)
class StudentVectors:
    """What a student makes of everything at one moment."""

    train: Vectors  # (q, d) of the questions that are learnt from
    dev: Vectors  # (r, d) of those that are chosen by
    passages: Vectors  # (p, d)


class EncoderTrainer:
    """One run in a folder, from its last checkpoint where there is one.

    Args:
        student: What learns.
        recipe: How.
        miner: Makes the examples of a pass.
        dev: The questions to choose by, in the order of `StudentVectors.dev`.
        snapshot: The vectors of the student as it is, after a pass, with a share of what it learnt.
        work: The folder that keeps the run; `work/best` becomes the best student that learnt something.
        identity: What the run is of, so that no other goes on with it.
        say: Is told how it goes.
        chosen: The pass and share that others have chosen: then dev is told and decides nothing.
    """

    def __init__(
        self,
        student: Student,
        recipe: EncoderRecipe,
        miner: Miner,
        dev: TrainingQuestions,
        snapshot: Callable[[Waypoint], StudentVectors],
        work: Path,
        identity: dict[str, Any],
        say: Callable[[str], None],
        chosen: Waypoint | None = None,
    ) -> None:
        self.student, self.recipe, self.miner, self.dev = student, recipe, miner, dev
        self.snapshot, self.work, self.say, self.chosen = snapshot, work, say, chosen
        self.identity = json.loads(json.dumps({**identity, "recipe": asdict(recipe), "chosen": chosen}))
        self._begun = state_of(student)
        self.metric = Metric.COSINE if student.cosine else Metric.DOT
        self.optimizer = torch.optim.AdamW(student.learnt, recipe.lr, weight_decay=recipe.weight_decay)
        self._says: list[int] = miner.corpus.same[miner.corpus.read_owners].tolist()  # of each text, what says the same
        self.log: list[dict[str, Any]] = []
        self.epoch, self.done = 0, 0  # the pass under way, and its steps so far
        self.examples: list[Example] | None = None
        self.ended = ""  # why, once it has

    # What is told of it

    @property
    def measured(self) -> dict[Waypoint, float]:
        """nDCG@10 of the dev questions by pass and share."""
        return {(entry["pass"], entry["share"]): entry["dev"] for entry in self.log if "dev" in entry}

    @property
    def scores(self) -> list[float]:
        """nDCG@10 of the dev questions before the first pass and after each, at its best share."""
        return best_by_pass(self.measured)

    @property
    def best(self) -> Waypoint:
        """The best student; (0, 1.0): none was better than before."""
        return best_of(self.measured) if self.chosen is None else self.chosen

    @property
    def best_trained(self) -> Waypoint | None:
        """The student that is kept: the best of all that learnt something; None: none did."""
        return best_of_trained(self.measured) if self.chosen is None else self.chosen

    def run(self) -> None:
        """Train to the end."""
        self._resume()
        while not self.ended:
            if self.examples is None:
                self._begin_pass()
                continue
            self._pass()
        self._ask_half_way()

    def seconds_of_step(self, examples: Sequence[Example]) -> float:
        """How long a step takes here, measured on one that changes nothing."""
        chosen = batches(examples, self._says, self.recipe.batch, np.random.default_rng(self.recipe.seed))[0]
        self._gradient(chosen, 0)  # what is laid out once
        start = time.perf_counter()
        self._gradient(chosen, 0)
        for one in self.student.learnt:
            one.grad = None
        return time.perf_counter() - start

    # The run

    def _begin_pass(self) -> None:
        """Measure on dev, keep the best, and make the examples of the next pass."""
        start = time.perf_counter()
        last = self.chosen is not None and self.epoch == self.chosen[0]
        shares = (1.0,) if not self.epoch or self.chosen is not None else tuple(self.student.shares)
        for share in (self.chosen[1],) if last and self.chosen is not None else shares:
            found = self._ask((self.epoch, share))
        told = [f"dev nDCG@10 {self.scores[self.epoch]:.4f}"] if self.chosen is None else []
        told += [f"loss {self._mean_loss():.3f}"] if self.epoch else ["before training"]
        self.say(f"pass {self.epoch} of {self.recipe.epochs}: {', '.join(told)}")
        if last or self.epoch == self.recipe.epochs:
            self.ended = "all passes are done"
        elif self.chosen is None and self.epoch - self.best[0] >= self.recipe.patience:
            self.ended = f"{self.recipe.patience} passes were no better on dev"
        else:
            rng = np.random.default_rng([self.recipe.seed, self.epoch, 1])
            self.examples = self.miner.examples(found.train, found.passages, rng)
            self.done = 0
        self.log.append({"measuring": time.perf_counter() - start})
        self._keep()

    def _ask(self, one: Waypoint) -> StudentVectors:
        """Measure the student on dev with a share of what it has learnt, and keep it if it is the best so far."""
        trained = state_of(self.student)
        if one[1] < 1:
            take_state(self.student, between(self._begun, trained, one[1]))
        found = self.snapshot(one)
        if self.chosen is None:
            score = dev_score(self.dev, self.miner.corpus, found.dev, found.passages, self.metric)
            self.log.append({"pass": one[0], "share": one[1], "dev": score})
        if one in (self.chosen, self.best_trained):
            with written(self.work / "best") as folder:
                self.student.save(folder)
            if one[1] == 1 and len(self.student.shares) == 1:
                with written(self.work / "best.pt") as part:  # half the way to it is asked in the end
                    torch.save(trained, part)
        take_state(self.student, trained)
        return found

    def _ask_half_way(self) -> None:
        """Where each share means to encode everything: measure the best pass once more, half way to what it learnt."""
        best = self.best_trained
        if self.chosen is not None or best is None or any(share < 1 for _, share in self.measured):
            return
        take_state(self.student, torch.load(self.work / "best.pt", map_location="cpu", weights_only=True))
        self._ask((best[0], HALF_WAY))
        self.say(f"half way to pass {best[0]}: dev nDCG@10 {self.measured[best[0], HALF_WAY]:.4f}")
        self._keep()

    def _pass(self) -> None:
        assert self.examples is not None
        rng = np.random.default_rng([self.recipe.seed, self.epoch, 2])
        planned = batches(self.examples, self._says, self.recipe.batch, rng)
        if not planned:
            self.ended = "no two questions have different answers"
            self._keep()
            return
        for number in range(self.done, len(planned)):
            if not self._step(planned[number], number, len(planned)):
                self._keep()
                return
            self.done = number + 1
            if self.done % self.recipe.checkpoint == 0 and self.done < len(planned):
                self.say(f"pass {self.epoch + 1}, step {self.done:,} of {len(planned):,}: loss {self._mean_loss():.3f}")
                self._keep()
        self.examples, self.done, self.epoch = None, 0, self.epoch + 1
        self._keep()

    def _step(self, batch: Sequence[Example], number: int, count: int) -> bool:
        """Learn from a batch; whether what came out can be gone on with."""
        start = time.perf_counter()
        share = (self.epoch + number / count) / self.recipe.epochs
        rate = self.recipe.lr * min(1.0, (share + 1e-3) / WARMING) * (1 - max(0.0, share - WARMING) / (1 - WARMING))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradient(batch, (self.recipe.seed << 40) + (self.epoch << 24) + number)
        norm = torch.nn.utils.clip_grad_norm_(self.student.learnt, CLIPPED)
        good = math.isfinite(loss) and bool(torch.isfinite(norm))
        if good:
            before = state_of(self.student) if self._may_diverge else None
            self.optimizer.step()
            if before is not None and not finite(self.student.learnt):
                take_state(self.student, before)
                good = False
        self.optimizer.zero_grad(set_to_none=True)
        if not good:
            self.ended = (
                f"the loss was no number at step {number + 1:,} of pass {self.epoch + 1}: try a lower rate (--lr, here "
                f"{self.recipe.lr:g}); the best state before it is kept"
            )
            self.say(f"{self.ended}.")
            return False
        self.log.append({"loss": loss, "seconds": time.perf_counter() - start})
        return True

    @property
    def _may_diverge(self) -> bool:
        return self.recipe.lr > 1e-3

    def _gradient(self, batch: Sequence[Example], seed: int) -> float:
        answers = [one.answer for one in batch]
        others = [key for one in batch for key in one.negatives]
        columns = [*answers, *others]
        answering = [self.miner.judged(one.question) for one in batch]
        owners = [self._says[key] for key in columns]
        forbidden = torch.tensor([[owner in own for owner in owners] for own in answering])
        forbidden[torch.arange(len(batch)), torch.arange(len(batch))] = False
        weights = torch.tensor([one.weight for one in batch])
        loss = self._loss(batch, forbidden, None if bool((weights == 1).all()) else weights)
        return self.student.backward([one.question for one in batch], columns, loss, seed)

    def _loss(self, batch: Sequence[Example], forbidden: Tensor, weights: Tensor | None) -> Loss:
        scale = self.recipe.scale if self.student.cosine else 1.0
        count = len(batch)
        taught = [one for one in batch if len(one.taught) > 1]

        def loss(queries: Tensor, documents: Tensor) -> Tensor:
            scores = scale * similarities(queries, documents, cosine=self.student.cosine)
            device = scores.device
            own = None if weights is None else weights.to(device)
            value = in_batch_negatives(scores, torch.arange(count, device=device), forbidden.to(device), own)
            if taught and self.recipe.teacher:
                value = (1 - self.recipe.teacher) * value + self.recipe.teacher * self._taught(batch, scores)
            return value

        return nested(loss, self.recipe.dims) if self.recipe.dims else loss

    def _taught(self, batch: Sequence[Example], scores: Tensor) -> Tensor:
        """The loss against the teacher's scores of each example's own candidates."""
        losses, column = [], len(batch)
        for row, one in enumerate(batch):
            columns = [row, *range(column, column + len(one.negatives))]
            column += len(one.negatives)
            if len(one.taught) > 1:
                given = scores[row, columns][None]
                wanted = torch.tensor(one.taught, device=scores.device, dtype=scores.dtype)[None]
                losses.append((divergence if self.recipe.teacher_loss == "kl" else margins)(given, wanted))
        return torch.stack(losses).mean()

    def _mean_loss(self) -> float:
        recent = [entry["loss"] for entry in self.log if "loss" in entry][-max(self.done, self.recipe.checkpoint) :]
        return float(np.mean(recent)) if recent else math.nan

    # Going on

    def _keep(self) -> None:
        state = {
            "identity": json.dumps(self.identity, sort_keys=True),
            "epoch": self.epoch,
            "done": self.done,
            "ended": self.ended,
            "learnt": state_of(self.student),
            "optimizer": self.optimizer.state_dict(),
            "log": json.dumps(self.log),
            "examples": "" if self.examples is None else json.dumps([asdict(one) for one in self.examples]),
        }
        with written(self.work / "state.pt") as part:
            torch.save(state, part)

    def _resume(self) -> None:
        file = self.work / "state.pt"
        if not file.is_file():
            return
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            identity = json.loads(state["identity"])
        except Exception as error:  # torch raises what it likes
            raise ModelError(
                f"{file} can't be read as a run that was interrupted ({str(error).partition(chr(10))[0]}): remove "
                f"{self.work} to begin anew."
            ) from error
        if identity != self.identity:
            raise begun_otherwise(self.work, identity, self.identity)
        take_state(self.student, state["learnt"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.done, self.ended = state["epoch"], state["done"], state["ended"]
        self.log = json.loads(state["log"])
        names = {one.name for one in fields(Example)}
        if state["examples"]:
            read = [{key: value for key, value in one.items() if key in names} for one in json.loads(state["examples"])]
            self.examples = [
                Example(**{**one, "negatives": tuple(one["negatives"]), "taught": tuple(one["taught"])}) for one in read
            ]
        if not self.ended:
            self.say(f"going on from pass {self.epoch + 1}, step {self.done + 1:,}.")


def dev_score(
    questions: TrainingQuestions, corpus: TrainingCorpus, queries: Vectors, passages: Vectors, metric: Metric
) -> float:
    """The mean nDCG@10 of questions."""
    return dev_scored(questions, corpus, queries, passages, metric).mean("nDCG@10")


def dev_scored(
    questions: TrainingQuestions, corpus: TrainingCorpus, queries: Vectors, passages: Vectors, metric: Metric
) -> Scored:
    """What questions find, answered exactly by the best passage of each document."""
    keys = np.arange(len(passages), dtype=np.int64)
    found = Truth(keys, passages, metric).neighbors(queries, min(DEV_DEPTH, len(passages)))
    run: dict[str, dict[str, float]] = {}
    for number, question in enumerate(questions.texts):
        own: dict[str, float] = {}
        for key, score in zip(found.keys[number].tolist(), found.scores[number].tolist(), strict=True):
            if key >= 0:
                own.setdefault(corpus.documents[corpus.owners[key]].id, score)
        run[question] = own
    return scored(run, {one: questions.grades[one] for one in questions.texts})
