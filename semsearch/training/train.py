"""Fine-tunes a cross-encoder from an encoder: groups of one relevant passage and several that only look so.

The loss is the cross-entropy of the relevant passage among its group (Gao, Dai and Callan, 2021, "Rethink Training of
BERT Rerankers in Multi-Stage Retrieval Pipeline"), and, in a share that can be chosen, the divergence from the order
that the encoder itself gives the group (Hinton et al., 2015): a few thousand judgements do not make a reranker out of
an encoder that has never read two texts at once, but its own similarities tell it what it knows already.

Every step is a function of the seed and its number, so that a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from semsearch.encoder.checkpoint import read_json, tokenizer_files
from semsearch.encoder.load import dtype_of
from semsearch.errors import ModelError, UsageError
from semsearch.reranker.head import in_float32
from semsearch.reranker.layout import IDENTITY, write_weight
from semsearch.reranker.text_pairs import Pieces, SpecialTokens, Windows
from semsearch.training.held_out import Evaluation, by_text, evaluate
from semsearch.training.judged import Judged
from semsearch.training.mining import SCALE, MinedCandidates
from semsearch.training.run_folder import delete_run
from semsearch.training.trainable import finite
from semsearch.training.training_material import for_people
from semsearch.training.written import written

TOGETHER = 16  # pairs of a step that are padded to one length


@dataclass(frozen=True)
class Recipe:
    """All that decides a run, beside the data and the encoder."""

    steps: int = 2_000
    batch: int = 8  # groups of a step
    negatives: int = 5  # of a group, beside its relevant passage
    depth: int = 100  # candidates that negatives are drawn from
    lr: float = 1e-4  # the highest, after a tenth of the steps; then it falls to 0
    weight_decay: float = 0.01
    max_length: int = 192  # tokens of a pair
    teacher: float = 0.5  # the encoder's share in the loss
    evaluations: int = 4  # while training
    rerank: int = 50  # candidates of a held-out query that are reranked
    checkpoint: int = 50  # steps from one checkpoint to the next
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "negatives", "depth", "evaluations", "rerank", "checkpoint"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if not 0 <= self.teacher <= 1:
            raise UsageError(f"teacher is {self.teacher}; it is a share, from 0 to 1.")


@dataclass(frozen=True)
class TrainingSet:
    """A data set, and what a first stage finds in it."""

    judged: Judged
    candidates: MinedCandidates

    def groups(self, rng: np.random.Generator, recipe: Recipe) -> list[tuple[int, list[int]]]:
        """Queries with the rows of their groups, the relevant one first."""
        chosen = rng.choice(len(self.judged.training), recipe.batch, replace=len(self.judged.training) < recipe.batch)
        return [self._group(self.judged.training[place], rng, recipe) for place in chosen]

    def _group(self, query: int, rng: np.random.Generator, recipe: Recipe) -> tuple[int, list[int]]:
        """Judged negatives take up to half of the places, high-ranked candidates more of the others than low ones."""
        grades = self.judged.grades[query]
        relevant = self.judged.relevant(query)
        judged = [row for row, grade in grades.items() if grade <= 0]
        right = {*relevant, *self.judged.withheld.get(query, ())}
        found = [row for row in self.candidates.rows[query].tolist() if row >= 0 and row not in grades]
        taken = rng.permutation(judged)[: recipe.negatives // 2].tolist() if judged else []
        wanted = min(recipe.negatives - len(taken), len(found))
        if wanted:
            weights = 1 / np.arange(2, len(found) + 2)
            taken += rng.choice(found, wanted, replace=False, p=weights / weights.sum()).tolist()
        while len(taken) < recipe.negatives:  # a tiny corpus: any other document, or one again
            row = int(rng.integers(len(self.judged.ids)))
            if row not in right or len(right) == len(self.judged.ids):
                taken.append(row)
        return query, [int(rng.choice(relevant)), *taken]


class Trainer:
    """One run in a folder: `run()` trains to the end, from the last checkpoint where there is one.

    Args:
        base: The folder of a transformer, the encoder's.
        tokenizer: Its tokenizer.
        tasks: The data.
        recipe: How.
        out: Where the model goes; `out/training` holds what the run needs to go on.
        device: Where to compute.
        say: Is told how it goes.
    """

    def __init__(
        self,
        base: Path,
        tokenizer: Tokenizer,
        tasks: Sequence[TrainingSet],
        recipe: Recipe,
        out: Path,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self.base, self.tokenizer, self.tasks, self.recipe, self.out = base, tokenizer, tasks, recipe, out
        self.device, self.say = device, say
        self.work = out / "training"
        self.work.mkdir(parents=True, exist_ok=True)
        settings = read_json(base / "tokenizer_config.json")
        names = settings.get("model_input_names")
        reader = SpecialTokens(tokenizer, types=names is None or "token_type_ids" in names, folder=base)
        self.windows = Windows(reader, recipe.max_length, windowed=False)
        weights = np.sqrt([len(task.judged.training) for task in tasks])
        self.shares = weights / weights.sum()
        self._run = json.dumps([asdict(recipe), [[task.judged.name, len(task.judged.training)] for task in tasks]])
        self.model = self._opened()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
        self.short = dtype_of(None, device) is torch.bfloat16
        self.step = 0
        self.log: list[dict[str, Any]] = []
        self.padding = int(self.model.config.pad_token_id or 0)

    def run(self) -> list[dict[str, Any]]:
        """Train; what was logged, the evaluations among it."""
        self._resume()
        if not any("evaluation" in entry for entry in self.log):
            start = time.perf_counter()
            self._evaluate()
            self._tell_time(time.perf_counter() - start)
        every = max(1, self.recipe.steps // self.recipe.evaluations)
        while self.step < self.recipe.steps:
            start = time.perf_counter()
            loss = self._train(self.step)
            if math.isnan(loss):
                self._end_early()
                break
            self.step += 1
            self.log.append({"step": self.step, "loss": loss, "seconds": time.perf_counter() - start})
            if self.step % self.recipe.checkpoint == 0:
                recent = [entry["loss"] for entry in self.log if "loss" in entry][-self.recipe.checkpoint :]
                self.say(f"step {self.step:,} of {self.recipe.steps:,}: loss {np.mean(recent):.3f}")
            if self.step == self.recipe.steps or (
                self.step % every == 0 and self.recipe.steps - self.step >= every // 2
            ):
                self._evaluate()
            if self.step % self.recipe.checkpoint == 0 or self.step == self.recipe.steps:
                self._keep()
        return self.log

    def finish(self, card: str) -> None:
        """Put the best step's model, its card and the log in place, and take away what only the run needed."""
        for path in (self.work / "best").iterdir():
            path.replace(self.out / path.name)
        (self.out / "README.md").write_text(card, "utf-8")
        lines = [json.dumps(entry) for entry in self.log]
        (self.out / "training.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        delete_run(self.work)

    @property
    def best(self) -> Evaluation:
        """The evaluation of the step that is kept."""
        return max((one for one in self.evaluations if one.step), key=lambda one: one.score)  # of equals the first

    @property
    def evaluations(self) -> list[Evaluation]:
        """Every evaluation so far."""
        return [Evaluation.of(entry["evaluation"]) for entry in self.log if "evaluation" in entry]

    def _tell_time(self, asking: float) -> None:
        """How long it will take, measured on a step that changes nothing."""
        self._gradient(0)  # what is laid out once
        start = time.perf_counter()
        self._gradient(0)
        took = time.perf_counter() - start
        self.optimizer.zero_grad(set_to_none=True)
        steps, asked = self.recipe.steps, self.recipe.evaluations
        self.say(
            f"{steps:,} steps, {took:.2f} s each here, and {asking:.1f} s to rerank for the held-out queries, {asked} "
            f"times: {for_people(steps * took + asked * asking)} to train."
        )

    def _end_early(self) -> None:
        """Leave the run with the best state so far, where there is one.

        Raises:
            ModelError: Nothing was learnt before.
        """
        told = f"the loss was no number at step {self.step + 1:,}: try a lower rate (--lr, here {self.recipe.lr:g})"
        if self.step and self.evaluations[-1].step < self.step and finite(self.model.parameters()):
            self._evaluate()
        if not any(one.step for one in self.evaluations):
            raise ModelError(f"{told}.")
        self.say(f"{told}; the best state before it is kept.")

    def _train(self, step: int) -> float:
        """Learn from the groups of a step; the loss, NaN where nothing could be learnt."""
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradient(step)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        good = math.isfinite(loss) and bool(torch.isfinite(norm))
        if good:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss if good else math.nan

    def _gradient(self, step: int) -> float:
        """Add the gradient of a step's loss to that of the weights; the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        rng = np.random.default_rng([self.recipe.seed, step])
        torch.manual_seed((self.recipe.seed << 32) + step)  # of the dropout
        task = self.tasks[int(rng.choice(len(self.tasks), p=self.shares))]
        groups = task.groups(rng, self.recipe)
        self.model.train()
        pairs = [(task.judged.queries[query], task.judged.texts[row]) for query, rows in groups for row in rows]
        logits = self._logits(self.windows.pieces(pairs)[0]).view(len(groups), -1)  # (groups, 1 + negatives)
        target = torch.zeros(len(groups), dtype=torch.long, device=self.device)
        loss = (1 - self.recipe.teacher) * functional.cross_entropy(logits, target)
        if self.recipe.teacher:
            similar = np.stack([task.candidates.similarities(query, rows) for query, rows in groups])
            order = torch.from_numpy(SCALE * similar).to(self.device).softmax(1)
            loss = loss + self.recipe.teacher * functional.kl_div(logits.log_softmax(1), order, reduction="batchmean")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _logits(self, pieces: Pieces) -> Tensor:
        """Float32 (n,), pairs of like length padded together, encoder in bfloat16."""
        order = np.argsort(pieces.lengths, kind="stable")
        ends = np.cumsum(pieces.lengths)
        parts = []
        for start in range(0, len(order), TOGETHER):
            chosen = order[start : start + TOGETHER]
            shape = (len(chosen), int(pieces.lengths[chosen].max()))
            ids, kinds, mask = np.full(shape, self.padding), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for row, place in enumerate(chosen):
                own = slice(int(ends[place] - pieces.lengths[place]), int(ends[place]))
                length = int(pieces.lengths[place])
                ids[row, :length], mask[row, :length] = pieces.ids[own], 1
                if pieces.kinds is not None:
                    kinds[row, :length] = pieces.kinds[own]
            given = {"input_ids": ids, "attention_mask": mask}
            if pieces.kinds is not None:
                given["token_type_ids"] = kinds
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.short):
                made = self.model(**{name: torch.from_numpy(array).to(self.device) for name, array in given.items()})
            parts.append(made.logits.float()[:, 0])
        logits = torch.cat(parts)
        return logits[torch.from_numpy(np.argsort(order, kind="stable")).to(self.device)]

    def _rate(self, step: int) -> float:
        warm = max(1, self.recipe.steps // 10)
        if step < warm:
            return self.recipe.lr * (step + 1) / warm
        return self.recipe.lr * (self.recipe.steps - step) / max(1, self.recipe.steps - warm)

    def _evaluate(self) -> None:
        """Rerank the held-out queries' candidates with what the run has made so far; the best so far is kept."""
        from semsearch.reranker.load import load_reranker

        folder = self.work / "now"
        with written(folder) as part:
            self.save(part)
        reranker = load_reranker(str(folder), device=str(self.device))
        data = [(task.judged, task.candidates) for task in self.tasks]
        made = evaluate(by_text(reranker), data, self.step, self.recipe.rerank)
        for name, before in made.before.items():
            self.say(
                f"step {self.step:,}, {name} held out: nDCG@10 {before[0]:.3f} before, {made.after[name][0]:.3f} "
                f"reranked, {made.blended[name][0]:.3f} where the reranker counts {made.weight:.0%}"
            )
        earlier = [evaluation.score for evaluation in self.evaluations if evaluation.step]
        self.log.append({"evaluation": made.logged()})
        if not earlier or made.score > max(earlier):
            write_weight(folder, made.weight)
            shutil.rmtree(self.work / "best", ignore_errors=True)
            folder.rename(self.work / "best")

    def save(self, folder: Path) -> None:
        """The model in the standard layout of sequence classification, with its tokenizer."""
        shutil.rmtree(folder, ignore_errors=True)
        self.model.config.sentence_transformers = {"activation_fn": IDENTITY}
        self.model.save_pretrained(folder)
        for path in tokenizer_files(self.base):
            shutil.copy(path, folder / path.name)
        self.tokenizer.save(str(folder / "tokenizer.json"))
        settings = read_json(self.base / "tokenizer_config.json")
        settings["model_max_length"] = self.recipe.max_length
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")

    def _keep(self) -> None:
        """A checkpoint; it replaces the last one at once or not at all."""
        state = {
            "run": self._run,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with written(self.work / "state.pt") as part:
            torch.save(state | {"log": json.dumps(self.log)}, part)

    def _resume(self) -> None:
        file = self.work / "state.pt"
        if not file.is_file():
            return
        try:
            state = torch.load(file, map_location=self.device, weights_only=True)
            run = state["run"]
        except Exception as error:  # torch raises what it likes
            raise ModelError(
                f"{file} can't be read as a run that was interrupted ({str(error).partition(chr(10))[0]}): remove "
                f"{self.work} to begin anew."
            ) from error
        if run != self._run:
            raise UsageError(
                f"{self.out} holds a run that was begun otherwise, {run}, where this one is {self._run}: give "
                "the same options, or another folder."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.log = state["step"], json.loads(state["log"])
        self.say(f"going on from step {self.step:,}.")

    def _opened(self) -> Any:
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging

        logging.set_verbosity_error()  # that the head is new is what is wanted
        logging.disable_progress_bar()
        torch.manual_seed(self.recipe.seed)
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                str(self.base), num_labels=1, dtype=torch.float32, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # transformers raises what its parts raise
            raise ModelError(f"{self.base} can't be opened for a reranker to be made of it: {error}") from error
        positions = getattr(model.config, "max_position_embeddings", None) or math.inf
        if self.recipe.max_length > positions:
            raise UsageError(f"max_length is {self.recipe.max_length}; the model has {positions} positions.")
        for name, part in model.named_children():
            if name != model.base_model_prefix:
                in_float32(part)  # logits that lie close together must stay apart
        return model.to(self.device)
