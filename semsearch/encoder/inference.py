"""Texts to vectors at the speed of the hardware, in memory that does not grow with their number.

Texts are taken a window at a time. A thread of its own tokenizes the next window while this one is computed; the texts
of a window are laid out in batches by a budget of tokens (`packing`), so that little of the work is padding; their
vectors go to their places in a float32 block, and a finished block to the caller. On a CPU the batches are computed
side by side, each on one thread: nobody waits for another until a window is through. On a GPU nothing is waited for
until then either. A few texts, such as a query, take a short way without thread or window.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from semsearch.encoder.features import Features
from semsearch.encoder.packing import Batch, Integers, plan
from semsearch.encoder.tokenization import Tokenize
from semsearch.errors import EncodingFailed, UsageError
from semsearch.hardware import on_one_thread, settle_threads, sharing_pays, side_by_side
from semsearch.types import Vectors

BUDGETS = {"cuda": 65_536, "mps": 16_384}  # tokens of a batch
CPU_BUDGET = 2_048  # tokens of a batch, which one thread computes: much of what lies between stays in its cache
LEAST_SHARE = 256  # tokens that are worth a batch of their own when several threads want work
WINDOWS = {"cpu": 8_192, "cuda": 32_768, "mps": 8_192}  # texts: enough to pack with two per cent of holes
CHARACTERS = 512  # of a window, for each of its texts
TOKENIZED_TEXTS = (
    512  # texts that are tokenized in one call: the tokenizer's own records take far more room than the ids
)
UNTHREADED_TEXTS = 16  # so many texts are not worth a thread
MIN_BATCH_TOKENS = 64  # tokens of a batch
Made = TypeVar("Made")
NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(slots=True)
class Window:
    """Consecutive texts, tokenized."""

    texts: Sequence[str]
    ids: Integers  # (T,) of all texts, one after the other
    lengths: Integers  # (n,)
    prompt_length: int

    def features(self, batch: Batch, device: torch.device) -> Features:
        """The tokens of a batch on the device, by copies that are not waited for."""
        lengths = self.lengths[batch.texts]
        ids = self.ids
        if len(self.lengths) > 1:
            starts = (np.cumsum(self.lengths) - self.lengths)[batch.texts]
            offsets = np.cumsum(lengths) - lengths
            ids = ids[np.arange(int(lengths.sum())) + np.repeat(starts - offsets, lengths)]
        rows = batch.rows(lengths)
        sizes = torch.from_numpy(lengths)
        flat, prompts = torch.from_numpy(ids), torch.full_like(sizes, self.prompt_length)
        if device.type == "cuda":
            flat, sizes, prompts, rows = flat.pin_memory(), sizes.pin_memory(), prompts.pin_memory(), rows.pin()
        if device.type != "cpu":
            flat, sizes, prompts = (part.to(device, non_blocking=True) for part in (flat, sizes, prompts))
            rows = rows.to(device)
        return Features(flat, sizes, prompts, rows=rows, host_lengths=lengths)


class Pipeline:
    """A tokenizer and the modules behind it, run over any number of texts.

    Args:
        tokenize: Gives token ids, cut to the model's window.
        modules: From `Features` to `Features`, on `device`; the last sets `sentence`.
        dim: Components of a vector.
        device: Where the modules are.
        dtype: What they compute in; only told to who asks.
        max_tokens: The model's window, likewise.
        batch_tokens: Tokens of a batch; what suits the device where it is not given. When memory runs out it is halved
            for good.
    """

    def __init__(
        self,
        tokenize: Tokenize,
        modules: Sequence[nn.Module],
        dim: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if batch_tokens is not None and batch_tokens < MIN_BATCH_TOKENS:
            raise UsageError(f"batch_tokens is {batch_tokens}; a batch must hold {MIN_BATCH_TOKENS} tokens or more.")
        settle_threads()
        self.tokenize = tokenize
        self.modules = tuple(modules)
        self.dim = dim
        self.device = torch.device(device)
        self.dtype = dtype
        self.max_tokens = max_tokens
        self.budget = batch_tokens or BUDGETS.get(self.device.type, CPU_BUDGET)
        self.shares_rows = bool(modules) and bool(getattr(modules[0], "shares_rows", False))

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        return int(getattr(self.tokenize, "truncated", 0))

    def encode(self, texts: Iterable[str], prompt: str = "") -> Vectors:
        """Float32 vectors (n, dim), in the order of the texts, each with the prompt before it.

        Raises:
            EncodingFailed: A text's vector is not finite, or memory does not even suffice for one text.
        """
        texts = texts if isinstance(texts, Sequence) else list(texts)
        vectors = np.empty((len(texts), self.dim), np.float32)
        done = 0
        for block in self.stream(texts, prompt):
            vectors[done : done + len(block)] = block
            done += len(block)
        return vectors

    def stream(self, texts: Iterable[str], prompt: str = "") -> Iterator[Vectors]:
        """The same in blocks (m, dim) of consecutive texts, which the caller may keep; of any number of texts."""
        return self.run(texts, prompt, self._compute)

    def run(self, texts: Iterable[str], prompt: str, compute: Callable[[Window], Made]) -> Iterator[Made]:
        """What `compute` makes of consecutive texts, a window at a time; the next one is tokenized meanwhile."""
        settle_threads()
        if isinstance(texts, Sequence) and len(texts) <= UNTHREADED_TEXTS:
            if texts:
                yield compute(self._tokenized(texts, prompt))
            return
        with ThreadPoolExecutor(1, "semsearch-tokenizer") as thread:
            ahead: Future[Window] | None = None
            # Windows are cut in the caller's thread: the texts may come from a database connection.
            for window in chain(windows(texts, self.device), [None]):
                behind = ahead
                ahead = thread.submit(self._tokenized, window, prompt) if window is not None else None
                if behind is not None:
                    yield compute(behind.result())
                    _trim()

    @torch.inference_mode()
    def features(self, text: str, prompt: str, modules: int) -> Features:
        """What the first `modules` modules make of one text."""
        window = self._tokenized([text], prompt)
        (batch,) = plan(window.lengths, self.budget)
        features = window.features(batch, self.device)
        for module in self.modules[:modules]:
            features = module(features)
        return features

    def _tokenized(self, texts: Sequence[str], prompt: str) -> Window:
        ids: list[Integers] = []
        lengths: list[int] = []
        prompt_length = 0
        for start in range(0, len(texts), TOKENIZED_TEXTS):
            piece, prompt_length = self.tokenize(texts[start : start + TOKENIZED_TEXTS], prompt)
            ids.append(np.fromiter(chain.from_iterable(piece), np.int64, sum(map(len, piece))))
            lengths += map(len, piece)
        return Window(texts, ids[0] if len(ids) == 1 else np.concatenate(ids), np.array(lengths), prompt_length)

    def _compute(self, window: Window) -> Vectors:
        """Vectors of a window's texts, (n, dim), every one finite."""
        vectors = np.empty((len(window.texts), self.dim), np.float32)
        made = list(self.by_batches(window, self._tried))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the only wait: every copy to the host has arrived
        for batch, vector in made:
            vectors[batch.texts] = vector.numpy()
        for place in np.flatnonzero(~np.isfinite(vectors).all(axis=1)):
            vectors[place] = self._alone(window, int(place))
        return vectors

    def by_batches(self, window: Window, tried: Callable[[Window, Batch], Made | None]) -> Iterator[tuple[Batch, Made]]:
        """Every text of a window, once, in a batch with what `tried` makes of it: None where memory did not suffice."""

        def made_of(batch: Batch) -> list[tuple[Batch, Made]]:
            work, finished = [batch], list[tuple[Batch, Made]]()
            while work:
                batch = work.pop()
                made = tried(window, batch)
                if made is None:
                    work += self._smaller(window, batch)
                else:
                    finished.append((batch, made))
            return finished

        batches = plan(window.lengths, self._share(window), share=self.shares_rows)
        if self.device.type != "cpu":
            yield from chain.from_iterable(map(made_of, batches))
        elif len(batches) == 1 and not sharing_pays(self.dtype):
            with on_one_thread():
                finished = made_of(batches[0])
            yield from finished
        else:
            yield from chain.from_iterable(side_by_side(made_of, batches))

    def _share(self, window: Window) -> int:
        """Tokens of a batch: fewer than fit where there would else be none for some of a CPU's threads."""
        if self.device.type != "cpu" or torch.get_num_threads() == 1:
            return self.budget
        share = -(-int(window.lengths.sum()) // torch.get_num_threads())
        return min(self.budget, max(LEAST_SHARE, share))

    def _tried(self, window: Window, batch: Batch) -> Tensor | None:
        """Vectors of a batch; None where memory did not suffice (and by now is free again)."""
        try:
            return self._run(window, batch)
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and not any(sign in str(error) for sign in NO_MEMORY):
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    @torch.inference_mode()
    def _run(self, window: Window, batch: Batch) -> Tensor:
        """Vectors of a batch on the host, (n, dim) float32; from a GPU they are still on their way."""
        features = window.features(batch, self.device)
        for module in self.modules:
            features = module(features)
        assert features.sentence is not None, "the last module of a model sets the sentence embedding"
        return on_host(features.sentence)

    def _smaller(self, window: Window, batch: Batch) -> list[Batch]:
        """The texts of a batch that found no memory, in smaller ones; later windows begin with smaller ones too."""
        if len(batch.texts) == 1:
            raise EncodingFailed(
                f"{self.device} has no memory for the text {shown(window, int(batch.texts[0]))} of "
                f"{batch.length} tokens by itself: close other programs, take another device, or a smaller model."
            )
        self.budget = max(MIN_BATCH_TOKENS, self.budget // 2)
        parts = plan(window.lengths[batch.texts], max(1, min(self.budget, batch.cost // 2)), share=self.shares_rows)
        if len(parts) == 1:  # rows are no shorter than they are: text by text then
            parts = [part for i in range(len(batch.texts)) for part in plan(window.lengths[batch.texts[[i]]], 1)]
            return [chosen(part, batch.texts[[i]]) for i, part in enumerate(parts)]
        return [chosen(part, batch.texts[part.texts]) for part in parts]

    def _alone(self, window: Window, place: int) -> Vectors:
        """The vector of a text that came out not finite, computed without neighbours, who may be the cause."""
        (batch,) = plan(window.lengths[[place]], self.budget)
        vector = self._run(window, chosen(batch, np.array([place])))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if not bool(torch.isfinite(vector).all()):
            raise EncodingFailed(
                f"the model gave NaN or infinite numbers for the text {shown(window, place)}. They may be too large "
                f"for {str(self.dtype).removeprefix('torch.')}: try float32 (--dtype float32)."
            )
        result: Vectors = vector[0].numpy()
        return result


def on_host(rows: Tensor) -> Tensor:
    """Rows as float32 on the host; from a GPU they are still on their way until somebody waits for it."""
    rows = rows.float()
    if rows.device.type != "cuda":
        return rows.cpu()
    return torch.empty(rows.shape, dtype=torch.float32, pin_memory=True).copy_(rows, non_blocking=True)


def windows(texts: Iterable[str], device: torch.device | str, shares: int = 1) -> Iterator[list[str]]:
    """Consecutive texts, bounded in number and in characters; of a sequence enough windows for all who share it."""
    most = WINDOWS.get(torch.device(device).type, WINDOWS["cpu"])
    if shares > 1 and isinstance(texts, Sequence):
        most = max(1, min(most, -(-len(texts) // shares)))
    window: list[str] = []
    size = 0
    for text in texts:
        if window and (len(window) == most or size + len(text) > most * CHARACTERS):
            yield window
            window, size = [], 0
        window.append(text)
        size += len(text)
    if window:
        yield window


def chosen(batch: Batch, texts: Integers) -> Batch:
    """A batch laid out alike, of other texts."""
    return Batch(texts, batch.row, batch.column, batch.count, batch.length, batch.shared)


def shown(window: Window, place: int) -> str:
    """A text as it stands in a message."""
    text = window.texts[place]
    return f"{text[:80]!r}{'…' if len(text) > 80 else ''}"


def _trim() -> None:
    """Give freed memory back to the system: glibc keeps large blocks that lie among small ones, ever more of them."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
