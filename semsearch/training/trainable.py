"""An encoder that learns: the modules of a checkpoint with gradients, and the folder that they are saved as.

The transformer is transformers' own (`semsearch.encoder.padded`), since the lean pass computes with weights that were
laid out for reading; what follows it is what the encoder is used with. Texts get the same prompts, the same window and
the same tokenizer as in use, because it is the same code that does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from semsearch.encoder.checkpoint import ROLES, Role
from semsearch.encoder.inference import Pipeline
from semsearch.encoder.load import device_of, open_with
from semsearch.encoder.modules import Normalize, Truncate
from semsearch.encoder.packing import Batch, plan
from semsearch.encoder.padded import load_padded
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.encoder.tokenization import Tokenize
from semsearch.encoder.torch_modules import TORCH_KINDS
from semsearch.errors import ModelError
from semsearch.hardware import bf16_is_fast
from semsearch.training import low_rank
from semsearch.training.encoder_folder import WRITTEN_KINDS, read_head, write_encoder
from semsearch.training.gradient_cache import TextsPart, backward
from semsearch.training.losses import Loss
from semsearch.types import Metric, Vectors

PART_TOKENS = {"cpu": 4_096, "cuda": 32_768}  # of a part, whose states lie in memory together …
PART_BYTES = {"cpu": 2 << 30, "cuda": 16 << 30}  # … and take no more than this: a wide model has fewer
STATE_BYTES = {"cpu": 2 << 30, "cuda": 16 << 30}  # that may lie between texts and vectors of a whole batch
STATES_OF_LAYER = 34  # numbers that a layer keeps of each token, times its width; Korthikanti et al., 2022
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way from the identity to what a head has learnt, which are asked


class TrainableModules:
    """See `semsearch.encoder.assemble.ModuleLibrary`: modules that keep their gradients."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.dtype = device, torch.float32
        self.made: dict[Path, tuple[str, nn.Module]] = {}  # by folder: what may be learnt, and saved there

    def load(self, kind: str, folder: Path, config: Mapping[str, Any]) -> nn.Module:
        """A module that follows another, or a table of vectors."""
        module: Any = TORCH_KINDS[kind].load(folder, config)
        return self._kept(kind, folder, module.to(self.device))

    def transformer(self, folder: Path, config: dict[str, Any], tokenizer: Tokenizer, *, all_layers: bool) -> nn.Module:
        """Transformers' own model."""
        return self._kept(
            "transformer",
            folder,
            load_padded(folder, config, tokenizer, torch.float32, self.device, all_layers=all_layers),
        )

    def truncate(self, dim: int, *, norm_first: bool) -> nn.Module:
        """Keeps the leading components."""
        return Truncate(dim, norm_first=norm_first)

    def normalize(self) -> nn.Module:
        """Scales vectors to unit length."""
        return Normalize()

    def stream(self, tokenize: Tokenize, modules: Sequence[nn.Module], dim: int, *, max_tokens: int) -> Pipeline:
        """A tokenizer and the modules behind it."""
        return Pipeline(tokenize, modules, dim, self.device, self.dtype, max_tokens=max_tokens)

    def _kept(self, kind: str, folder: Path, module: nn.Module) -> nn.Module:
        if kind in WRITTEN_KINDS:
            self.made[folder] = (kind, module)
        return module.eval()


class Student(Protocol):
    """What a run trains: questions and passages by number, to vectors with gradients."""

    @property
    def learnt(self) -> Sequence[nn.Parameter]:
        """What there is to learn."""
        ...

    @property
    def cosine(self) -> bool:
        """Whether vectors are compared by their directions alone."""
        ...

    @property
    def shares(self) -> Sequence[float]:
        """Of what it has learnt, which are measured after each pass; the last is all of it."""
        ...

    def backward(self, questions: Sequence[int], passages: Sequence[int], loss: Loss, seed: int) -> float:
        """Add the gradient of a loss of their vectors to the weights' `grad`; the loss."""
        ...

    def save(self, folder: Path) -> None:
        """As sentence-transformers would, whole."""
        ...


class TrainableEncoder:
    """A checkpoint whose weights are moved by the gradients of losses on its vectors.

    Args:
        base: A model's name or folder.
        questions: Texts.
        passages: Texts.
        device: Where to compute.
        way: "full" moves all weights, "lora" low-rank products beside those of attention.
        seed: Of what is drawn.

    Raises:
        ModelError: It can't be opened, has nothing to learn, or compares by Euclidean distance.
    """

    shares = (1.0,)  # any other would have everything encoded once more

    def __init__(
        self,
        base: str,
        questions: Sequence[str],
        passages: Sequence[str],
        *,
        device: str | None = None,
        way: str = "full",
        seed: int = 0,
    ) -> None:
        library = TrainableModules(device_of(device))
        self.encoder: TextEncoder = open_with(lambda: library, base)
        self.device, self.folder, self.name = library.device, self.encoder.folder, self.encoder.name
        if self.encoder.metric == Metric.L2:
            raise ModelError(f"{self.name} compares by Euclidean distance, and no loss here is of distances.")
        self.cosine = self.encoder.metric == Metric.COSINE
        self._texts: Mapping[Role, Sequence[str]] = {"query": questions, "document": passages}
        self._made = library.made
        self.network = nn.ModuleList([module for _, module in library.made.values()])
        self.short = bf16_is_fast(self.device)
        transformers: list[Any] = [module for kind, module in library.made.values() if kind == "transformer"]
        if way == "lora":
            self.network.requires_grad_(False)
            self.learnt: Sequence[nn.Parameter] = [
                one for module in transformers for one in low_rank.adapt(module, seed)
            ]
            if not self.learnt:
                raise ModelError(f"{self.name} has no attention to put low-rank products beside: use another --way.")
        else:
            self.network.requires_grad_(True)
            self.learnt = list(self.network.parameters())
        sizes = [module.model.config for module in transformers]
        self._state_bytes = sum(
            4 * STATES_OF_LAYER * getattr(one, "hidden_size", 768) * getattr(one, "num_hidden_layers", 12)
            for one in sizes
        )  # of a token

    @property
    def static(self) -> bool:
        """Whether it is a table of vectors."""
        return any(kind == "staticembedding" for kind, _ in self._made.values())

    def backward(self, questions: Sequence[int], passages: Sequence[int], loss: Loss, seed: int) -> float:
        """See `Student.backward`; memory is that of a few texts where all would take too much."""
        numbers: dict[Role, Sequence[int]] = {"query": questions, "document": passages}
        parts: list[TextsPart] = []
        order: dict[Role, Tensor] = {}
        tokens = made = 0
        for role in [role for role in ROLES if len(numbers[role])]:
            own, chosen, cost = self._parts(role, [self._texts[role][number] for number in numbers[role]])
            order[role] = torch.argsort(torch.cat(chosen)) + made
            parts, tokens, made = parts + own, tokens + cost, made + len(numbers[role])
        fits = tokens * self._state_bytes <= STATE_BYTES.get(self.device.type, STATE_BYTES["cpu"])
        self.network.train()

        def of_all(vectors: Tensor) -> Tensor:
            queries, documents = (
                vectors[order[role]] if role in order else vectors[:0] for role in ("query", "document")
            )
            return loss(queries, documents)

        value = backward(parts, seed, of_all, at_once=fits)
        self.network.eval()
        return value

    def _parts(self, role: Role, texts: Sequence[str]) -> tuple[list[TextsPart], list[Tensor], int]:
        """What makes the vectors of texts of like length, which texts each makes, and the tokens of all."""
        stream: Any = self.encoder.stream(role)
        window = stream._tokenized(texts, self.encoder.prompts.of(role))
        kind = self.device.type if self.device.type in PART_TOKENS else "cpu"
        if self._state_bytes:
            most = min(PART_TOKENS[kind], PART_BYTES[kind] // self._state_bytes)
        else:  # a table keeps nothing of a token, and each part would make a gradient of the whole table
            most = len(texts) * int(window.lengths.max())
        batches = plan(window.lengths, most, share=False)

        def made(batch: Batch) -> Tensor:
            features = window.features(batch, self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.short):
                for module in stream.modules:
                    features = module(features)
            assert features.sentence is not None
            vectors: Tensor = features.sentence.float()
            return vectors

        chosen = [torch.from_numpy(batch.texts) for batch in batches]
        return [partial(made, batch) for batch in batches], chosen, int(window.lengths.sum())

    def save(self, folder: Path) -> None:
        """See `Student.save`."""
        tensors: dict[Path, Mapping[str, Tensor]] = {}
        for own, (kind, module) in self._made.items():
            inner: Any = module.model if kind == "transformer" else module
            tensors[own] = low_rank.plain(inner.state_dict(), inner)
        write_encoder(self.encoder, folder, tensors)


class TrainableHead:
    """A matrix behind an encoder that stays: it begins as the identity, and learns from vectors that are there.

    Args:
        encoder: Whose vectors they are.
        questions: (q, d) vectors.
        passages: (p, d) vectors.
    """

    cosine = True
    shares = SHARES

    def __init__(self, encoder: TextEncoder, questions: Vectors, passages: Vectors) -> None:
        if encoder.metric != Metric.COSINE:
            raise ModelError(f"{encoder.name} compares by {encoder.metric}; a head is trained for cosines: --way full.")
        self.encoder = encoder
        self._vectors = (questions, passages)
        self.head = nn.Linear(encoder.dim, encoder.dim, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(encoder.dim))
        self.learnt: Sequence[nn.Parameter] = list(self.head.parameters())

    def backward(self, questions: Sequence[int], passages: Sequence[int], loss: Loss, seed: int) -> float:
        """See `Student.backward`."""
        made = [
            self.head(torch.from_numpy(np.ascontiguousarray(vectors[list(numbers)])))
            for vectors, numbers in zip(self._vectors, (questions, passages), strict=True)
        ]
        value = loss(made[0], made[1])
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    def turned(self, vectors: Vectors) -> Vectors:
        """Vectors (n, d) as they come out behind the head, of unit length."""
        made = vectors @ self.head.weight.detach().numpy().T
        found: Vectors = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
        return found

    def take_saved(self, folder: Path) -> None:
        """Become the head that was saved in a folder."""
        with torch.no_grad():
            self.head.weight.copy_(read_head(folder))

    def save(self, folder: Path) -> None:
        """See `Student.save`."""
        write_encoder(self.encoder, folder, {}, head=self.head.weight.detach())


def state_of(student: Student) -> dict[str, Tensor]:
    """All that a student has learnt so far."""
    return {str(number): tensor.detach().cpu().clone() for number, tensor in enumerate(student.learnt)}


def take_state(student: Student, state: Mapping[str, Tensor]) -> None:
    """Go back to a state."""
    with torch.no_grad():
        for number, tensor in enumerate(student.learnt):
            tensor.copy_(state[str(number)])


def between(begun: Mapping[str, Tensor], learnt: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The state that lies so far on the way from one to the other."""
    return {name: begun[name] + share * (tensor - begun[name]) for name, tensor in learnt.items()}


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number of them is NaN or infinite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
