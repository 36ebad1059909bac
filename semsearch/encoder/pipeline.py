"""Texts to vectors at the speed of the hardware, in memory that does not grow with their number.

Texts are taken a window at a time. A thread of its own tokenizes the next window while this one is computed; the texts
of a window are laid out in batches by a budget of tokens (`packing`), so that little of the work is padding; their
vectors go to their places in a float32 block, and a finished block to the caller. On a GPU nothing is waited for until
a window is through. A few texts, such as a query, take a short way without thread or window.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from semsearch.encoder.features import Features
from semsearch.encoder.packing import Batch, Integers, plan
from semsearch.errors import EncodingFailed, UsageError
from semsearch.types import Vectors

WINDOW_TEXTS = 8_192  # enough to sort and pack with a per cent of holes
WINDOW_CHARACTERS = 4_000_000
FEW = 16  # so many texts are not worth a thread
BUDGETS = {"cpu": 4_096, "cuda": 65_536, "mps": 16_384}  # tokens of a batch
SMALLEST = 64  # tokens; a device without memory for these has none


class Tokenize(Protocol):
    """Texts to token ids, cut to the model's window, and the number of leading tokens that are the prompt's."""

    def __call__(self, texts: Sequence[str], prompt: str = "") -> tuple[list[list[int]], int]:
        """Ids of `prompt + text` for each text, and the length of the prompt."""
        ...


@dataclass(slots=True)
class _Window:
    """Consecutive texts, tokenized."""

    texts: list[str]
    ids: Integers  # (T,) of all texts
    lengths: Integers  # (n,)
    prompt_length: int

    def features(self, batch: Batch, device: torch.device) -> Features:
        """The tokens of a batch on the device, by copies that are not waited for."""
        lengths = self.lengths[batch.texts]
        starts = (np.cumsum(self.lengths) - self.lengths)[batch.texts]
        offsets = np.cumsum(lengths) - lengths
        ids = torch.from_numpy(self.ids[np.arange(int(lengths.sum())) + np.repeat(starts - offsets, lengths)])
        rows = batch.rows(lengths)
        sizes = torch.from_numpy(lengths)
        prompts = torch.full_like(sizes, self.prompt_length)
        if device.type == "cpu":
            return Features(ids, sizes, prompts, rows=rows)
        if device.type == "cuda":
            ids, sizes, prompts, rows = ids.pin_memory(), sizes.pin_memory(), prompts.pin_memory(), rows.pin()
        return Features(
            ids.to(device, non_blocking=True),
            sizes.to(device, non_blocking=True),
            prompts.to(device, non_blocking=True),
            rows=rows.to(device),
        )


class Pipeline:
    """A tokenizer and the modules behind it, run over any number of texts.

    Args:
        tokenizer: Gives token ids, cut to the model's window.
        modules: From `Features` to `Features`, on `device`; the last sets `sentence`.
        dim: Components of a vector.
        device: Where the modules are.
        dtype: What they compute in; only told to who asks.
        max_tokens: The model's window, likewise.
        batch_tokens: Tokens of a batch; what suits the device where it is not given. After an out-of-memory error it
            is halved for good.
    """

    def __init__(
        self,
        tokenizer: Tokenize,
        modules: Sequence[nn.Module],
        dim: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if batch_tokens is not None and batch_tokens < SMALLEST:
            raise UsageError(f"batch_tokens is {batch_tokens}; a batch must hold {SMALLEST} tokens or more.")
        self.tokenizer = tokenizer
        self.modules = tuple(modules)
        self.dim = dim
        self.device = torch.device(device)
        self.dtype = dtype
        self.max_tokens = max_tokens
        self.budget = batch_tokens or BUDGETS.get(self.device.type, 4_096)
        self.shares_rows = bool(modules) and getattr(modules[0], "shares_rows", False)

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        return int(getattr(self.tokenizer, "truncated", 0))

    def encode(
        self,
        texts: Iterable[str],
        prompt: str = "",
        out: Vectors | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Vectors:
        """Float32 vectors (n, dim), in the order of the texts.

        Args:
            texts: A sequence, or any iterable if `out` is given.
            prompt: Put before every text.
            out: Where the vectors go, (n, dim) float32; may be a memory map, whose pages are let go once written.
            progress: Called with the number of texts done so far.

        Raises:
            EncodingFailed: A text's vector is not finite.
        """
        if out is None:
            texts = texts if isinstance(texts, Sequence) else list(texts)
            out = np.empty((len(texts), self.dim), np.float32)
        done = 0
        for block in self.stream(texts, prompt):
            if done + len(block) > len(out) or out.shape[1:] != (self.dim,):
                raise UsageError(f"the vectors need room of the shape (n, {self.dim}); given was {out.shape}.")
            out[done : done + len(block)] = block
            done += len(block)
            _let_go(out)
            if progress is not None:
                progress(done)
        return out

    def stream(self, texts: Iterable[str], prompt: str = "") -> Iterator[Vectors]:
        """The same in blocks (m, dim) of consecutive texts, whose memory the caller may keep."""
        if isinstance(texts, Sequence) and len(texts) <= FEW:
            if texts:
                yield self._compute(self._tokenize(list(texts), prompt))
            return
        with ThreadPoolExecutor(1, "semsearch-tokenizer") as thread:
            ahead: Future[_Window] | None = None
            for window in _windows(texts):  # in the caller's thread: the texts may come from a database
                behind, ahead = ahead, thread.submit(self._tokenize, window, prompt)
                if behind is not None:
                    yield self._compute(behind.result())
            if ahead is not None:
                yield self._compute(ahead.result())

    def _tokenize(self, texts: list[str], prompt: str) -> _Window:
        ids, prompt_length = self.tokenizer(texts, prompt)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
        return _Window(texts, flat, lengths, prompt_length)

    def _compute(self, window: _Window) -> Vectors:
        """Vectors of a window's texts, (n, dim), every one finite."""
        vectors = np.empty((len(window.texts), self.dim), np.float32)
        ready: list[tuple[Batch, Tensor]] = []
        work = plan(window.lengths, self.budget, share=self.shares_rows)
        while work:
            batch = work.pop(0)
            try:
                ready.append((batch, self._run(window, batch)))
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                work = self._smaller(window, batch, error) + work
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the only wait: every copy below has arrived
        for batch, made in ready:
            vectors[batch.texts] = made.numpy()
        for place in np.flatnonzero(~np.isfinite(vectors).all(axis=1)):
            vectors[place] = self._alone(window, int(place))
        return vectors

    @torch.inference_mode()
    def _run(self, window: _Window, batch: Batch) -> Tensor:
        """Vectors of a batch on the host, (n, dim) float32; on a GPU they are still on their way."""
        features = window.features(batch, self.device)
        for module in self.modules:
            features = module(features)
        assert features.sentence is not None, "the last module of a model sets the sentence embedding"
        made = features.sentence.float()
        if self.device.type != "cuda":
            return made.cpu()
        return torch.empty(made.shape, dtype=torch.float32, pin_memory=True).copy_(made, non_blocking=True)

    def _smaller(self, window: _Window, batch: Batch, error: RuntimeError) -> list[Batch]:
        """The texts of a batch that found no memory, in smaller ones; later batches are smaller too."""
        if self.budget // 2 < SMALLEST or len(batch.texts) == 1:
            raise error
        self.budget //= 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        parts = plan(window.lengths[batch.texts], min(self.budget, batch.cost // 2), share=self.shares_rows)
        for part in parts:
            part.texts = batch.texts[part.texts]
        return parts

    def _alone(self, window: _Window, place: int) -> Vectors:
        """The vector of a text that came out not finite, computed without neighbours, who may be the cause."""
        batch = plan(window.lengths[place : place + 1], self.budget)[0]
        batch.texts = np.array([place])
        vector = self._run(window, batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if not bool(torch.isfinite(vector).all()):
            text = window.texts[place]
            raise EncodingFailed(
                f"the model gave NaN or infinite numbers for the text {text[:80]!r}{'…' if len(text) > 80 else ''}. "
                "If it computes in a short format, its numbers may be too large for it: try float32 (--dtype float32)."
            )
        return vector[0].numpy()


def _windows(texts: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive texts, bounded in number and in characters."""
    source = iter(texts)
    window: list[str] = []
    size = 0
    for text in source:
        if window and (len(window) == WINDOW_TEXTS or size + len(text) > WINDOW_CHARACTERS):
            yield window
            window, size = [], 0
        window.append(text)
        size += len(text)
    if window:
        yield window


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or torch's allocator on the CPU, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _let_go(out: Vectors) -> None:
    """Give the pages of a memory map back to the system: they are written in time, and count for nothing here."""
    mapped = getattr(out, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") and getattr(out, "mode", "") != "c":
        mapped.madvise(mmap.MADV_DONTNEED)
