"""`semsearch.train`: an encoder that knows a collection, and is never put in its place unless it is better."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

import semsearch
from semsearch.arguments import check_path
from semsearch.collection import Collection
from semsearch.encoder.load import load_encoder
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.engine import fingerprint
from semsearch.errors import CollectionLocked, DataError, UsageError
from semsearch.file_locks import try_lock
from semsearch.training import static_distillation
from semsearch.training.comparison import ModelComparison, ModelRuns, compared, remembering, runs_with
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.encoder_card import TrainingFacts, encoder_card
from semsearch.training.encoder_trainer import EncoderRecipe, EncoderTrainer, StudentVectors
from semsearch.training.hard_negatives import Miner
from semsearch.training.pseudo_questions import ROUND_TRIP, pseudo_questions
from semsearch.training.sources import TrainingSources, read_sources
from semsearch.training.split import Split, alike, apart, split
from semsearch.training.teachers import load_teacher
from semsearch.training.trainable import Student, TrainableEncoder, TrainableHead
from semsearch.training.training_questions import TrainingQuestions
from semsearch.training.written import written
from semsearch.types import Document, Encoder, Metric, Reranker, Vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAINED_WAYS = ("full", "lora", "head", "static")
RATES = {"full": 2e-5, "lora": 3e-4, "head": 3e-4, "static": 3e-3}  # not tuned: those the field begins with
TIMED_PASSAGES = 64  # passages that are encoded to tell how long all will take


@dataclass(frozen=True)
class EncoderTraining:
    """What came of a run.

    Attributes:
        folder: Where the model is; None where it was not published.
        comparison: With the model that it began as, on the test questions.
        beside: Of a static model: with its teacher.
        scores: nDCG@10 on the dev questions before training and after each pass.
        best: The pass that was kept; 0: none was better than before.
        verdict: In a sentence.
        seconds: That it took.
    """

    folder: Path | None
    comparison: ModelComparison | None
    beside: ModelComparison | None
    scores: Sequence[float]
    best: int
    verdict: str
    seconds: float


def train(
    collection: Collection | str,
    *,
    out: str | os.PathLike[str],
    queries: str | os.PathLike[str] | None = None,
    qrels: str | os.PathLike[str] | None = None,
    pairs: str | os.PathLike[str] | None = None,
    clicks: str | os.PathLike[str] | None = None,
    by_itself: bool = False,
    test: str | os.PathLike[str] | None = None,
    base: str | None = None,
    way: str = "full",
    teacher: str | Reranker | Encoder | None = None,
    rerank: str | Reranker | None = None,
    force: bool = False,
    device: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    home: Any = None,
    recipe: Mapping[str, Any] | None = None,
) -> EncoderTraining:
    """Train the encoder of a collection on questions about it, and publish the result only if it is better.

    The same call goes on after an interruption, and ends as if there had been none.

    Args:
        collection: Opened, or its name.
        out: The folder that the model goes to.
        queries: TrainingQuestions: a BEIR folder, its queries.jsonl, or lines of id, tab and text.
        qrels: Their judgements, as BEIR or TREC have them; None takes `qrels/train.tsv` of a BEIR folder.
        pairs: A file of pairs of a question and a text, which is a document's.
        clicks: A log of clicks, JSON lines of `query`, `shown` and `clicked`.
        by_itself: Take questions out of the documents.
        test: Judgements to measure on; None holds out a quarter of the questions.
        base: The model to begin with; None is the collection's.
        way: "full", "lora" (low-rank products beside attention), "head" (a matrix behind the model, in minutes without
            a GPU) or "static" (a table of word vectors distilled from the model).
        teacher: A reranker or a larger encoder whose order of the candidates is learnt too; a reranker also filters
            the negatives.
        rerank: Measure hybrid search reranked by this as well.
        force: Publish a model that is not better.
        device: Where to compute.
        say: Is told how it goes.
        home: Of the collection, where its name is given.
        recipe: As in `EncoderRecipe`: epochs, batch, negatives, lr, patience, dims, teacher (its share), seed …

    Raises:
        UsageError: An option can't be, or the folder holds something else.
        DataError: The questions can't be learnt from; says why, and what would do.
    """
    if isinstance(collection, str):
        with semsearch.open(collection, home=home, device=device) as opened:
            return train(
                opened, out=out, queries=queries, qrels=qrels, pairs=pairs, clicks=clicks, by_itself=by_itself,
                test=test, base=base, way=way, teacher=teacher, rerank=rerank, force=force, device=device, say=say,
                recipe=recipe,
            )  # fmt: skip
    if way not in TRAINED_WAYS:
        raise UsageError(f"there is no way {way!r}; there are {', '.join(TRAINED_WAYS)}.")
    said = dict(recipe or {})
    unknown = sorted(said.keys() - EncoderRecipe.__dataclass_fields__.keys())
    if unknown:
        raise UsageError(
            f"train has no option {unknown[0]!r}; there are {', '.join(EncoderRecipe.__dataclass_fields__)}."
        )
    made = EncoderRecipe(**{"lr": RATES[way], **({"weight_decay": 0.0} if way in ("head", "static") else {}), **said})
    given = {"queries": queries, "qrels": qrels, "pairs": pairs, "clicks": clicks, "test": test}
    paths = {name: Path(check_path(path, name)) if path is not None else None for name, path in given.items()}
    sources = TrainingSources(by_itself=by_itself, **paths)
    run = _Run(collection, sources, Path(check_path(out, "out")), base, way, teacher, rerank, made, device, say)
    return run.result(force)


class _Run:
    """One run, from the questions to the folder."""

    def __init__(
        self,
        collection: Collection,
        sources: TrainingSources,
        out: Path,
        base: str | None,
        way: str,
        teacher: str | Reranker | Encoder | None,
        rerank: str | Reranker | None,
        recipe: EncoderRecipe,
        device: str | None,
        say: Callable[[str], None],
    ) -> None:
        self.collection, self.sources, self.out, self.way = collection, sources, out, way
        self.recipe, self.device, self.say, self.rerank = recipe, device, say, rerank
        self.work = out / "training"
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise UsageError(f"{out} is no folder: give another one.")
        if out.is_dir() and any(path.name != "training" for path in out.iterdir()):
            raise UsageError(f"{out} is there already and not empty: give another folder.")
        self.started = time.perf_counter()
        self.split_up = bool(collection.settings["passages"])
        self.teacher_name = teacher if isinstance(teacher, str) or teacher is None else type(teacher).__qualname__
        self.base = self._opened(base)
        self.teacher = None if teacher is None else load_teacher(teacher, device)
        self.documents, self.parts, self.corpus = self._questions()
        self._kept: dict[int, Vectors] = {}  # of the passages, by pass
        self._asked: list[Vectors] = []  # of the questions, where a head turns them

    def result(self, force: bool) -> EncoderTraining:
        """Train, compare, publish."""
        parts = self.parts
        self.say(
            f"{len(self.corpus.documents):,} documents in {len(self.corpus.texts):,} passages; "
            f"{len(parts.train.texts):,} questions to learn from, {len(parts.dev.texts):,} to choose by, "
            f"{len(parts.test.texts):,} to measure on, of {self.sources.told}."
        )
        for one in parts.said:
            self.say(one)
        self.work.mkdir(parents=True, exist_ok=True)
        with _alone(self.work):
            trainer = self._trainer()
            trainer.run()
            return self._compared(trainer, force)

    # What is learnt from

    def _opened(self, base: str | None) -> TextEncoder:
        found = self.collection.encoder if base is None else load_encoder(base, device=self.device)
        if not isinstance(found, TextEncoder):
            raise UsageError(
                f"collection '{self.collection.name}' has no model in a folder that could be trained "
                f"({type(found).__name__}): name one to begin with (--base MODEL)."
            )
        if base is not None and found.fingerprint != fingerprint(self.collection.settings):
            own = self.collection.settings["encoder"] or {}
            if (own.get("prompts") or {}) != (found.description()["prompts"] or {}):
                self.say(
                    f"{found.name} has other prompts than the model of the collection: it is trained, measured and "
                    f"saved with its own, {found.prompts.query!r} and {found.prompts.document!r}."
                )
            if own.get("window") != found.description()["window"]:
                self.say(
                    f"{found.name} reads {found.description()['window']} tokens where the collection's model reads "
                    f"{own.get('window')}: documents are split for it, as `reencode` will split them."
                )
        return found

    def _questions(self) -> tuple[Sequence[Document], Split, TrainingCorpus]:
        """The documents that are measured on, the questions, and what is learnt from."""
        documents: Sequence[Document] = list(self.collection.documents())
        if not documents:
            raise DataError(f"collection '{self.collection.name}' is empty: there is nothing to learn from.")
        taken, altered = pseudo_questions(documents, self.recipe.seed) if self.sources.by_itself else (None, documents)
        judged = self.sources.queries or self.sources.pairs or self.sources.clicks
        if not judged:
            documents = altered
        corpus = TrainingCorpus.of(documents, self.base, passages=self.split_up)
        test: TrainingQuestions | None = None
        if judged:
            primary, others, test = read_sources(self.sources, corpus)
            others += [taken] if taken is not None else []
        else:
            assert taken is not None
            primary, others = taken, []
        parts = split(primary, corpus, self.recipe.seed, test)
        said = [*primary.said, *(one for other in others for one in other.said), *parts.said]
        train = parts.train
        for place, other in enumerate(others):
            held = [*parts.dev.texts.values(), *parts.test.texts.values()]
            ids = list(other.texts)
            copies = {ids[own] for _, own in alike(held, [other.texts[one] for one in ids])}
            rest, _ = apart(other.only(set(ids) - copies), [parts.dev, parts.test], corpus)
            train = train.joined(rest, f"{place}: ")
            if other is taken:
                self._lend(rest, f"{place}: ", altered, corpus)
        if taken is not None:
            train = self._round_trip(train, corpus, said, pseudo=None if not judged else f"{len(others) - 1}: ")
        return documents, Split(train, parts.dev, parts.test, said), corpus

    def _lend(
        self, questions: TrainingQuestions, prefix: str, altered: Sequence[Document], corpus: TrainingCorpus
    ) -> None:
        """Let questions out of documents be learnt with what their documents are without them."""
        wanted = {document for one in questions.texts for document in questions.answers(one)}
        chosen = [document for document in altered if document.id in wanted]
        bare = TrainingCorpus.of(chosen, self.base, passages=self.split_up)
        first = {document.id: bare.texts[bare.starts[place]] for place, document in enumerate(chosen)}
        for question in questions.texts:
            for document in questions.answers(question):
                corpus.lend(prefix + question, document, first[document])

    def _round_trip(
        self, train: TrainingQuestions, corpus: TrainingCorpus, said: list[str], pseudo: str | None
    ) -> TrainingQuestions:
        """Without the questions out of documents that do not find their own among the first `ROUND_TRIP`."""
        vectors = self._vectors(corpus)
        asked = [one for one in train.texts if pseudo is None or one.startswith(pseudo)]
        queries = self.base.encode_queries([train.texts[one] for one in asked])
        lost = set()
        for question, query in zip(asked, queries, strict=True):
            scores = vectors @ query
            own = max(
                float(scores[corpus.passages(corpus.place[one]).start : corpus.passages(corpus.place[one]).stop].max())
                for one in train.answers(question)
            )
            if len(set(corpus.owners[scores > own].tolist())) >= ROUND_TRIP:
                lost.add(question)
        if lost:
            said.append(
                f"{len(lost):,} of {len(asked):,} questions out of documents do not find them again among the first "
                f"{ROUND_TRIP}, and are not learnt from."
            )
        return train.only(set(train.texts) - lost)

    def _vectors(self, corpus: TrainingCorpus) -> Vectors:
        """Of all passages, by the base: those that are stored, or made now."""
        if not hasattr(self, "_made"):
            stored = corpus.stored(self.collection, self.base)
            if stored is None:
                sample = corpus.texts[:: max(1, len(corpus.texts) // TIMED_PASSAGES)][:TIMED_PASSAGES]
                start = time.perf_counter()
                self.base.encode_documents(sample)
                took = (time.perf_counter() - start) / len(sample) * len(corpus.texts)
                self.say(f"encoding {len(corpus.texts):,} passages by {self.base.name}, {_minutes(took)}.")
                stored = self.base.encode_documents(corpus.texts)
            self._made = stored
        return self._made

    # The run

    def _trainer(self) -> EncoderTrainer:
        parts, corpus = self.parts, self.corpus
        base = self.base
        if self.way == "static":
            base, corpus = self._static()
            self.corpus = corpus
        order = list(parts.train.texts)
        questions = [parts.train.texts[one] for one in order]
        student: Student
        self._kept[0] = self._vectors(corpus) if self.way != "static" else base.encode_documents(corpus.texts)
        if self.way == "head":
            extra = base.encode_documents(corpus.extra) if corpus.extra else np.empty((0, base.dim), np.float32)
            read = np.concatenate([self._kept[0], extra])
            student = TrainableHead(base, base.encode_queries(questions), read)
        else:
            student = TrainableEncoder(
                str(base.folder),
                questions,
                corpus.read,
                device=self.device,
                way="lora" if self.way == "lora" else "full",
                seed=self.recipe.seed,
            )
        self.begun = base
        metric = Metric.COSINE if student.cosine else Metric.DOT
        miner = Miner(parts.train, order, corpus, metric, self.recipe.negatives, self.teacher)
        identity = {
            "collection": str(self.collection.settings.get("created")),
            "base": base.fingerprint,
            "way": self.way,
            "teacher": self.teacher_name,
            "questions": _digest(parts, corpus),
        }
        trainer = EncoderTrainer(
            student,
            self.recipe,
            miner,
            parts.dev,
            lambda epoch: self._snapshot(trainer, epoch),
            self.work,
            identity,
            self.say,
        )
        if not (self.work / "state.pt").is_file():
            self._tell_time(trainer, miner, student)
        return trainer

    def _snapshot(self, trainer: EncoderTrainer, epoch: int) -> StudentVectors:
        """The vectors of the student as it is, by the very code that will use it."""
        texts = [[part.texts[one] for one in part.texts] for part in (self.parts.train, self.parts.dev)]
        encoder = self.begun
        if isinstance(trainer.student, TrainableHead):  # it turns vectors that are there
            return self._turned(trainer.student, epoch, texts)
        if epoch:
            with written(self.work / "now") as folder:
                trainer.student.save(folder)
            encoder = load_encoder(str(self.work / "now"), device=self.device)
            self._kept[epoch] = encoder.encode_documents(self.corpus.texts)
            best = trainer.best_trained
            for other in [one for one in self._kept if one not in (0, best, epoch)]:
                del self._kept[other]
        queries = [encoder.encode_queries(own) for own in texts]
        return StudentVectors(queries[0], queries[1], self._kept[epoch])

    def _turned(self, student: TrainableHead, epoch: int, texts: Sequence[Sequence[str]]) -> StudentVectors:
        """The vectors behind a head: those of the base, multiplied; those of the questions are made once."""
        if not self._asked:
            self._asked = [self.begun.encode_queries(own) for own in texts]
        parts = [student.turned(vectors) for vectors in (*self._asked, self._kept[0])]
        if epoch:
            self._kept = {0: self._kept[0]}
        return StudentVectors(*parts)

    def _tell_time(self, trainer: EncoderTrainer, miner: Miner, student: Student) -> None:
        """How long it will take, by a step and some passages that are timed."""
        found = self._snapshot(trainer, 0)
        examples = miner.examples(found.train, found.passages, np.random.default_rng(self.recipe.seed))
        steps = -(-len(examples) // self.recipe.batch)
        if len(examples) < 2:
            raise DataError("fewer than two questions are left to learn from: judge more.")
        step = trainer.seconds_of_step(examples)
        measuring = 0.0
        if self.way != "head":
            sample = self.corpus.texts[:: max(1, len(self.corpus.texts) // TIMED_PASSAGES)][:TIMED_PASSAGES]
            start = time.perf_counter()
            self.begun.encode_documents(sample)
            measuring = (time.perf_counter() - start) / len(sample) * len(self.corpus.texts)
        whole = self.recipe.epochs * (steps * step + measuring)
        self.say(
            f"at most {self.recipe.epochs} passes of {steps:,} steps, {step:.2f} s each here, and {measuring:.0f} s to "
            f"encode all passages after each: {_minutes(whole)}."
        )

    def _static(self) -> tuple[TextEncoder, TrainingCorpus]:
        """The static model that has followed its teacher, and the corpus as it reads it."""
        teacher, seen = self._vectors(self.corpus), self.corpus
        first, followed = self.work / "distilled", self.work / "followed"
        start = time.perf_counter()
        if not (followed / "modules.json").is_file():
            kept = static_distillation.distil(self.base, seen.texts, first)
            distilled = load_encoder(str(first), device="cpu")
            corpus = TrainingCorpus.of(self.documents, distilled, passages=self.split_up)
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
        corpus = TrainingCorpus.of(self.documents, made, passages=self.split_up)
        corpus.lent = {pair: len(corpus.texts) + number - len(seen.texts) for pair, number in seen.lent.items()}
        corpus.extra, corpus.extra_owners = seen.extra, seen.extra_owners
        return made, corpus

    # What came of it

    def _compared(self, trainer: EncoderTrainer, force: bool) -> EncoderTraining:
        best, scores, static = trainer.best, trainer.scores, self.way == "static"
        none_better = ""
        if not best and not static:
            verdict = (
                f"no pass was better on the {len(self.parts.dev.texts):,} dev questions than the model of before "
                f"(nDCG@10 {scores[0]:.4f}, at best {max(scores[1:], default=math.nan):.4f}; {trainer.ended})"
            )
            if not force or not trainer.best_trained:
                return self._ended(trainer, None, None, f"{verdict}: nothing is published")
            best, none_better = trainer.best_trained, verdict
        folder = self.work / "best" if best else self.work / "followed"
        after = load_encoder(str(folder), device=self.device)
        known = self._kept.get(best)
        if isinstance(trainer.student, TrainableHead):
            trainer.student.take_saved(folder)
            known = trainer.student.turned(self._kept[0])
        if known is not None:
            after = remembering(after, self.corpus.texts, known)
        runs = self._runs(after)
        if static:
            beside = compared(self._runs(remembering(self.base, *self._base_texts())), runs, self.parts.test)
            comparison = compared(self._runs(load_encoder(str(self.work / "distilled"))), runs, self.parts.test)
            publish = not comparison.worse
        else:
            beside = None
            before = remembering(self.base, self.corpus.texts, self._kept[0])
            comparison = compared(self._runs(before), runs, self.parts.test)
            publish = comparison.better and not none_better
        verdict = comparison.verdict
        if not publish and not force:
            return self._ended(trainer, comparison, beside, f"{verdict}: not published")
        if not publish:
            verdict = "published by force, and it is " + "; ".join([verdict, *filter(None, [none_better])])
        card = encoder_card(self._facts(trainer, after), self.recipe, verdict, comparison, beside)
        for path in folder.iterdir():
            path.replace(self.out / path.name)
        (self.out / "README.md").write_text(card, "utf-8")
        lines = "".join(json.dumps(entry) + "\n" for entry in trainer.log)
        (self.out / "training.jsonl").write_text(lines, "utf-8")
        shutil.rmtree(self.work)
        return self._ended(trainer, comparison, beside, verdict, self.out)

    def _base_texts(self) -> tuple[Sequence[str], Vectors]:
        corpus = TrainingCorpus.of(self.documents, self.base, passages=self.split_up)
        return corpus.texts, self._made

    def _runs(self, encoder: TextEncoder) -> ModelRuns:
        return runs_with(encoder, self.documents, self.collection, self.parts.test, self.rerank)

    def _facts(self, trainer: EncoderTrainer, after: TextEncoder) -> TrainingFacts:
        train = self.parts.train
        whats = {"full": "All weights of", "lora": "Low-rank products in the attention of", "head": "A matrix behind",
                 "static": "A static model distilled from"}  # fmt: skip
        return TrainingFacts(
            name=self.out.resolve().name,
            base=self.base.name,
            what=whats[self.way],
            query=after.prompts.query,
            document=after.prompts.document,
            window=after.description()["window"],
            train=len(train.texts),
            pairs=sum(len(train.answers(one)) for one in train.texts),
            dev=len(self.parts.dev.texts),
            sources=self.sources.told,
            way=self.way,
            scores=trainer.scores,
            best=trainer.best,
            said=[one.rstrip(".") + "." for one in self.parts.said],
        )

    def _ended(
        self,
        trainer: EncoderTrainer,
        comparison: ModelComparison | None,
        beside: ModelComparison | None,
        verdict: str,
        folder: Path | None = None,
    ) -> EncoderTraining:
        seconds = time.perf_counter() - self.started
        return EncoderTraining(folder, comparison, beside, trainer.scores, trainer.best, verdict, seconds)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile."""
    file: IO[bytes]
    with (work / "lock").open("ab") as file:
        if not try_lock(file):
            raise CollectionLocked(f"another process trains in {work.parent}: wait for it, or give another folder.")
        yield


def _digest(parts: Split, corpus: TrainingCorpus) -> str:
    """Of all that is learnt from and chosen by, and what it is asked of."""
    told = [[part.texts, part.grades] for part in (parts.train, parts.dev, parts.test)]
    weights = sorted((*pair, weight) for pair, weight in parts.train.weights.items())
    whole = json.dumps([told, weights, list(corpus.read)], ensure_ascii=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def _minutes(seconds: float) -> str:
    """How long, for people."""
    if seconds < 90:
        return f"some {max(1, seconds):.0f} s"
    return f"some {seconds / 60:.0f} min" if seconds < 5_400 else f"some {seconds / 3600:.1f} h"
