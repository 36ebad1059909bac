"""How published cross-encoders are laid out, as data: what is run, what turns a logit into a score, what is written.

Three generations are alike to their users and differ on disk: a transformers folder with a classification head, whose
config.json names the activation in one of two places; a chain of modules whose last gives "scores" (5.4 on); a causal
language model asked to answer yes or no, whose score is the log-odds of the two words (Qwen3-Reranker).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from semsearch.encoder.checkpoint import Stage, read_json, read_modules, read_stage
from semsearch.errors import ModelError

RerankerTask = Literal["sequence-classification", "feature-extraction", "text-generation"]
TASKS: tuple[RerankerTask, ...] = ("sequence-classification", "feature-extraction", "text-generation")
SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"
OWN, WEIGHT = "semsearch", "rerank_weight"  # in config.json: {"semsearch": {"rerank_weight": 0.4}}
# Classes that a config.json may say are code of the checkpoint's own.
OWN_CODE = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoModelForCausalLM")


@dataclass(frozen=True)
class Answers:
    """The tokens whose logits are a causal reranker's score: yes - no, or yes alone."""

    yes: int | str  # a token's id, or the token
    no: int | str | None


@dataclass(frozen=True)
class RerankerLayout:
    """What a folder says about its cross-encoder."""

    folder: Path  # of the transformer
    task: RerankerTask
    config: Mapping[str, Any]  # the transformer's
    settings: Mapping[str, Any]  # how it is used: sentence_bert_config.json, where there is one
    stages: tuple[Stage, ...]  # of a chain: the transformer and what follows it
    labels: int  # scores of a pair
    activation: str  # the name of a torch.nn module
    prompt: str  # before every query
    answers: Answers | None = None  # of a causal reranker
    weight: float | None = None  # what it counts beside its first stage, where it was trained here


def read(folder: Path) -> RerankerLayout:
    """The layout of a cross-encoder's folder.

    Raises:
        ModelError: It holds no cross-encoder, or not one that this version opens faithfully; says why.
    """
    said = read_json(folder / "config_sentence_transformers.json")
    family = said.get("model_type", "CrossEncoder")
    entries = read_modules(folder) if (folder / "modules.json").is_file() else []
    if entries and "model_type" not in said:
        family = "SentenceTransformer"
    if family != "CrossEncoder":
        raise ModelError(
            f"{folder} holds no reranker but a {family}, which gives vectors and scores no pairs. Give a "
            "cross-encoder, such as 'cross-encoder/ms-marco-MiniLM-L6-v2', or train one from it with 'semsearch "
            "train-reranker'."
        )
    if not entries:
        return _bare(folder, said)
    transformer = _inside(read_stage(folder, entries[0]["path"], entries[0]["type"], entries[0]), folder)
    task = transformer.config.get("transformer_task", "feature-extraction")
    config = _config(transformer.folder)
    common: dict[str, Any] = {
        "folder": transformer.folder,
        "config": config,
        "settings": transformer.config,
        "prompt": _prompt(said, folder),
    }
    rest = entries[1:]
    if task == "sequence-classification" and not rest:
        labels = labels_of(config)
        return RerankerLayout(
            task=task, stages=(), labels=labels, activation=_activation(said, config, labels, folder), **common
        )
    if task == "text-generation" and len(rest) == 1 and rest[0]["type"].endswith("LogitScore"):
        answers = _answers(folder / rest[0]["path"])
        return RerankerLayout(
            task=task,
            stages=(),
            labels=1,
            activation=_activation(said, config, 1, folder),
            answers=answers,
            **common,
        )
    if task == "feature-extraction" and rest:
        stages = (transformer, *(read_stage(folder, entry["path"], entry["type"], entry) for entry in rest))
        last = stages[-1]
        if last.kind == "dense" and last.config.get("module_output_name") == "scores":
            labels = int(last.config.get("out_features", 0))
            activation = _activation(said, config, labels, folder)
            return RerankerLayout(task=task, stages=stages, labels=labels, activation=activation, **common)
    names = ", ".join(entry["type"].rpartition(".")[2] for entry in entries)
    raise ModelError(
        f"{folder} is a chain of modules that is no reranker semsearch knows: {names}, its transformer used for "
        f"'{task}'. Known are a classifier by itself, a text generator with LogitScore, and an encoder whose chain "
        "ends in a Dense module that gives 'scores'."
    )


def labels_of(config: Mapping[str, Any]) -> int:
    """Scores that a sequence-classification model gives for a pair; two where its config.json is silent."""
    named = config.get("id2label")
    return len(named) if named else int(config.get("num_labels") or 2)


def _bare(folder: Path, said: Mapping[str, Any]) -> RerankerLayout:
    """A folder without modules.json: a classifier, or a causal language model that answers yes or no."""
    config = _config(folder)
    architecture = str((config.get("architectures") or [""])[0])
    causal = architecture.endswith("ForCausalLM")
    if not causal and architecture and not architecture.endswith("ForSequenceClassification"):
        raise ModelError(
            f"{folder} holds no reranker: its config.json names the architecture {architecture}, which has no head "
            "that scores a pair. Give a cross-encoder, or train one from it: semsearch train-reranker."
        )
    labels = 1 if causal else labels_of(config)
    return RerankerLayout(
        folder=folder,
        task="text-generation" if causal else "sequence-classification",
        config=config,
        settings={},
        stages=(),
        labels=labels,
        activation=_activation(said, config, labels, folder),
        prompt=_prompt(said, folder),
        answers=Answers("yes", "no") if causal else None,
        weight=_weight(config, folder),
    )


def _weight(config: Mapping[str, Any], folder: Path) -> float | None:
    """What `semsearch train-reranker` wrote of the share that the reranker should have."""
    own = config.get(OWN)
    return checked_weight(own.get(WEIGHT), folder / "config.json") if isinstance(own, Mapping) else None


def checked_weight(weight: object, file: Path) -> float | None:
    """A weight as a `file` gives it, from 0 to 1; None where it gives none.

    Raises:
        ModelError: It is no such number.
    """
    if weight is None:
        return None
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise ModelError(
            f"{file} gives the reranker the weight {weight!r:.40}; it must be from 0 to 1: put it right, or take it "
            "out."
        )
    return float(weight)


def write_weight(folder: Path, weight: float) -> None:
    """Say in a folder's config.json what its reranker counts beside its first stage, from 0 to 1."""
    config = read_json(folder / "config.json")
    config[OWN] = {WEIGHT: weight}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "config.json")
    if "model_type" not in config:
        raise ModelError(f"{folder} is no reranker: it has no config.json that names a model_type.")
    own = [name for name in OWN_CODE if name in (config.get("auto_map") or {})]
    if own:
        raise ModelError(
            f"{folder} needs code of its own for its model ('{config['model_type']}', {', '.join(own)} in auto_map), "
            "and semsearch runs no code from checkpoints. Look for a version of it that needs none, or choose another."
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter (PEFT) on another model; merge it into that model first and save the result."
        )
    return config


def _inside(stage: Stage, folder: Path) -> Stage:
    if stage.kind != "transformer":
        raise ModelError(
            f"{folder} begins with a module of the kind '{stage.kind}'; a reranker begins with a transformer."
        )
    task = stage.config.get("transformer_task", "feature-extraction")
    if task not in TASKS:
        raise ModelError(f"{folder} uses its transformer for '{task}'; rerankers use it for one of {', '.join(TASKS)}.")
    return stage


def _answers(folder: Path) -> Answers:
    config = read_json(folder / "config.json")
    if not isinstance(config.get("true_token_id"), int):
        raise ModelError(f"{folder} doesn't say which token means yes (true_token_id): fetch the model anew.")
    return Answers(config["true_token_id"], config.get("false_token_id"))


def _activation(said: Mapping[str, Any], config: Mapping[str, Any], labels: int, folder: Path) -> str:
    """What the logits pass: named by the checkpoint, newest place first; else a sigmoid for a single score."""
    inner = config.get("sentence_transformers") or {}
    named = (
        said.get("activation_fn")
        or inner.get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
        or (SIGMOID if labels == 1 else IDENTITY)
    )
    if not str(named).startswith("torch.nn."):
        raise ModelError(f"{folder} names the activation '{named}', which is not one of torch's and is not imported.")
    return str(named)


def _prompt(said: Mapping[str, Any], folder: Path) -> str:
    name = said.get("default_prompt_name")
    prompts = said.get("prompts") or {}
    if name is None:
        return ""
    if name not in prompts:
        raise ModelError(f"{folder} names the prompt '{name}' and has only {', '.join(prompts) or 'none'}.")
    return str(prompts[name] or "")
