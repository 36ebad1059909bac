"""One run of training an encoder: which student learns, what it makes of everything, and which state of it is best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semsearch.encoder.load import load_encoder
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import DataError
from semsearch.training import static_distillation
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.encoder_trainer import EncoderRecipe, EncoderTrainer, StudentVectors, dev_score
from semsearch.training.hard_negatives import Miner
from semsearch.training.split import parted
from semsearch.training.teachers import Teacher
from semsearch.training.trainable import Student, TrainableEncoder, TrainableHead
from semsearch.training.training_material import TrainingMaterial, for_people
from semsearch.training.training_questions import TrainingQuestions
from semsearch.training.waypoint import BASE, Waypoint, best_by_pass, best_of, best_of_trained
from semsearch.training.written import written
from semsearch.types import Metric, Vectors


class EncoderRun:
    """From the material to the best student.

    Args:
        material: To learn from.
        way: "full", "lora", "head" or "static".
        recipe: How.
        work: The folder that keeps the run.
        teacher: Whose order is learnt too.
        identity: What else the run is of.
        device: Where to compute.
        say: Is told how it goes.

    Attributes:
        begun: The encoder that the student began as.
        corpus: As it reads it.
        measured: nDCG@10 of the dev questions by pass and share.
        log: A line for each step and measurement.
        ended: Why it did.
    """

    def __init__(
        self,
        material: TrainingMaterial,
        way: str,
        recipe: EncoderRecipe,
        work: Path,
        teacher: Teacher | None = None,
        *,
        identity: dict[str, Any] | None = None,
        device: str | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.material, self.way, self.recipe, self.work, self.teacher = material, way, recipe, work, teacher
        self.device, self.say, self._identity = device, say, identity or {}
        self.measured: dict[Waypoint, float] = {}
        self.log: list[dict[str, Any]] = []
        self.ended = ""
        self._kept: dict[Waypoint, Vectors] = {}  # of the passages
        self._asked: dict[str, Vectors] = {}  # of questions by their text, where a head turns them
        self._extra: Vectors | None = None  # of the texts that are no passages, likewise
        self._runs_left = 1  # of trainers, whose time is told before the first of them

    @property
    def best(self) -> Waypoint:
        """The best pass and share by the dev questions; `BASE`: none was better than before."""
        return best_of(self.measured)

    @property
    def best_trained(self) -> Waypoint | None:
        """The best that learnt something, which is in `work/best`."""
        return best_of_trained(self.measured)

    @property
    def scores(self) -> list[float]:
        """nDCG@10 of the dev questions before training and after each pass."""
        return best_by_pass(self.measured)

    def run(self, *, whatever: bool = False) -> None:
        """Train.

        Args:
            whatever: Leave the best that learnt something in `work/best` even if it is no better than before.
        """
        self.begun, self.corpus = self._static() if self.way == "static" else (self.material.base, self.material.corpus)
        own = self.way == "static"
        self._kept[BASE] = self.begun.encode_documents(self.corpus.texts) if own else self.material.vectors
        parts = self.material.parts
        if not parts.crossed:
            trainer = self._trained(parts.train, parts.dev, self.work)
            self.measured = trainer.measured
            return
        self._cross()
        best = self.best if self.best != BASE or not whatever else self.best_trained
        if best is not None and best != BASE:
            self._trained(parts.train, parts.dev, self.work, best)

    def passages_of(self, best: Waypoint) -> Vectors | None:
        """The vectors of the passages by the base or by `work/best`, where they are known."""
        if best != BASE and self.way == "head":
            student = TrainableHead(self.begun, self._kept[BASE][:0], self._kept[BASE][:0])
            student.take_saved(self.work / "best")
            return student.turned(self._kept[BASE])
        return self._kept.get(best)

    # Its parts

    def _cross(self) -> None:
        """Measure each part of the questions by a student that learnt from the others."""
        folds = parted(self.material.parts, self.corpus, self.recipe.seed)
        if not folds:
            raise DataError(
                "no questions are left to choose by, since all share their answers with others: judge questions that "
                "other documents answer."
            )
        self.say(f"few questions: each of {len(folds)} parts of them is chosen by after learning from the others.")
        self._runs_left = len(folds) + 1  # all learn from all in the end
        found: list[dict[Waypoint, float]] = []
        for number, (train, dev) in enumerate(folds):
            trainer = self._trained(train, dev, self.work / f"part-{number}")
            found.append({one: score * len(dev.texts) for one, score in trainer.measured.items()})
        count = sum(len(dev.texts) for _, dev in folds)
        common = [one for one in found[0] if all(one in own for own in found)]
        self.measured = {one: sum(own[one] for own in found) / count for one in common}
        self.say(f"all parts together: dev nDCG@10 {', '.join(f'{score:.4f}' for score in self.scores)}")

    def _trained(
        self, train: TrainingQuestions, dev: TrainingQuestions, work: Path, chosen: Waypoint | None = None
    ) -> EncoderTrainer:
        """The trainer that has run."""
        work.mkdir(parents=True, exist_ok=True)
        order = list(train.texts)
        student = self._student([train.texts[one] for one in order])
        metric = Metric.COSINE if student.cosine else Metric.DOT
        miner = Miner(train, order, self.corpus, metric, self.recipe.negatives, self.teacher)
        identity = {
            **self._identity,
            "base": self.material.base.fingerprint,
            "way": self.way,
            "questions": self.material.digest,
        }
        texts = [list(part.texts.values()) for part in (train, dev)]

        def snapshot(one: Waypoint) -> StudentVectors:
            return self._snapshot(trainer, one, texts, work)

        trainer = EncoderTrainer(student, self.recipe, miner, dev, snapshot, work, identity, self.say, chosen)
        if self._runs_left and not (work / "state.pt").is_file():
            self._tell_time(trainer, miner, snapshot)
        trainer.run()
        self.log, self.ended = [*self.log, *trainer.log], trainer.ended
        return trainer

    def _student(self, questions: Sequence[str]) -> Student:
        base, corpus = self.begun, self.corpus
        if self.way == "head":
            if self._extra is None:
                none = np.empty((0, base.dim), np.float32)
                self._extra = base.encode_documents(corpus.extra) if corpus.extra else none
            return TrainableHead(base, self._questions(questions), np.concatenate([self._kept[BASE], self._extra]))
        way = "lora" if self.way == "lora" else "full"
        return TrainableEncoder(
            str(base.folder), questions, corpus.read, device=self.device, way=way, seed=self.recipe.seed
        )

    def _questions(self, texts: Sequence[str]) -> Vectors:
        """The vectors of questions by the base, each made once."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._asked]
        if missing:
            self._asked |= dict(zip(missing, self.begun.encode_queries(missing), strict=True))
        return np.stack([self._asked[text] for text in texts])

    def _snapshot(
        self, trainer: EncoderTrainer, one: Waypoint, texts: Sequence[Sequence[str]], work: Path
    ) -> StudentVectors:
        """The vectors of the student as it is, by the very code that will use it."""
        student, encoder = trainer.student, self.begun
        if isinstance(student, TrainableHead):  # it turns vectors that are there
            turned = [student.turned(self._questions(own)) for own in texts]
            return StudentVectors(turned[0], turned[1], student.turned(self._kept[BASE]))
        if one != BASE:
            with written(work / "now") as folder:
                student.save(folder)
            encoder = load_encoder(str(work / "now"), device=self.device)
            self._kept[one] = encoder.encode_documents(self.corpus.texts)
            for other in [other for other in self._kept if other not in (BASE, trainer.best_trained, one)]:
                del self._kept[other]
        queries = [encoder.encode_queries(own) for own in texts]
        return StudentVectors(queries[0], queries[1], self._kept[one])

    def _tell_time(self, trainer: EncoderTrainer, miner: Miner, snapshot: Callable[[Waypoint], StudentVectors]) -> None:
        """How long it will take: a step, what is done between passes, and some passages that are encoded are timed."""
        start = time.perf_counter()
        found = snapshot(BASE)
        dev_score(trainer.dev, self.corpus, found.dev, found.passages, trainer.metric)
        asking = time.perf_counter() - start
        if self.way != "head":
            asking += self.material.seconds_to_encode(self.begun, self.corpus.texts)
        start = time.perf_counter()
        examples = miner.examples(found.train, found.passages, np.random.default_rng(self.recipe.seed))
        between = len(trainer.student.shares) * asking + time.perf_counter() - start
        if len(examples) < 2:
            raise DataError("fewer than two questions are left to learn from: judge more.")
        steps = -(-len(examples) // self.recipe.batch)
        step = trainer.seconds_of_step(examples)
        times = f"{self._runs_left} times " if self._runs_left > 1 else ""
        self.say(
            f"{times}at most {self.recipe.epochs} passes of {steps:,} steps, {step:.2f} s each here, and "
            f"{between:.1f} s to ask the dev questions and to find negatives after each: "
            f"{for_people(self._runs_left * self.recipe.epochs * (steps * step + between))} to train."
        )
        self._runs_left = 0

    def _static(self) -> tuple[TextEncoder, TrainingCorpus]:
        """The static model that has followed its teacher, and the corpus as it reads it."""
        teacher, seen = self.material.vectors, self.material.corpus
        first, followed = self.work / "distilled", self.work / "followed"
        start = time.perf_counter()
        if not (followed / "modules.json").is_file():
            kept = static_distillation.distil(self.material.base, seen.texts, first)
            distilled = load_encoder(str(first), device="cpu")
            corpus = self.material.read_by(distilled)
            means = np.add.reduceat(teacher, seen.starts[:-1], axis=0)  # a document is as its passages are
            student = TrainableEncoder(str(first), [], corpus.texts, device="cpu")
            taught = np.ascontiguousarray(means @ kept)
            self.say(
                f"a static model of {distilled.dim} components is distilled ({time.perf_counter() - start:.0f} s)."
            )
            static_distillation.follow(student, len(corpus.texts), taught, self.recipe.seed, self.say)
            with written(followed) as folder:
                student.save(folder)
        made = load_encoder(str(followed), device="cpu")
        corpus = self.material.read_by(made)
        corpus.lent = {pair: len(corpus.texts) + number - len(seen.texts) for pair, number in seen.lent.items()}
        corpus.extra, corpus.extra_owners = seen.extra, seen.extra_owners
        return made, corpus
