"""Vectors in one byte a component, or in bfloat16's two, with what a proven bound of their products needs.

A code row comes with facts that are computed once, in float64, from the vector: the scale of its integers, the length
of what the code leaves out, and its own length. With x̂ and q̂ what is multiplied instead of x and q, s̃ the product that
comes back, h = ‖x̂‖ and r = ‖x − x̂‖,

    q·x ≤ s̃ + ‖q‖·r + ‖q − q̂‖·h + γ·‖q̂‖·h + u·|s̃|

by Cauchy and Schwarz; γ bounds the rounding of a sum of d products (Higham, Accuracy and Stability of Numerical
Algorithms, section 3.1: d·2⁻²⁴ in any order; twice that is used), u that of the value returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semsearch.hardware import cpu_has, multiplies_int8
from semsearch.types import Metric, Vectors
from semsearch.vectors import MAX_COMPONENT

if TYPE_CHECKING:
    import torch

UNDERFLOW = 2.0**-100  # more than all underflow of a sum of products
PAD = 2.0**-20  # relative; more than the few float32 roundings of putting a bound together
# times dim: rows with a greater squared length are of older versions, and their products overflow
FAR = MAX_COMPONENT**2
LARGEST = 127  # of a code; -128 is left out, so that codes are symmetric
SCALE, RESIDUAL, LENGTH, BASE = range(4)  # columns of the facts
WIDE = 64  # queries from which AMX multiplies the integers faster as bfloat16, which holds them exactly


def encode(
    vectors: Vectors, metric: Metric, kind: str
) -> tuple[NDArray[np.int8] | NDArray[np.uint16], NDArray[np.float32]]:
    """Codes and facts `(n, 4)` of some vectors `(n, dim)`; `kind` is "int8", padded to fours, or "bf16", its bits."""
    n, dim = vectors.shape
    exact = vectors.astype(np.float64)
    codes: NDArray[np.int8] | NDArray[np.uint16]
    if kind == "int8":
        scale = np.maximum(np.abs(vectors).max(axis=1), np.float32(2.0**-120)) / np.float32(LARGEST)
        codes = np.zeros((n, padded_width(dim, kind)), dtype=np.int8)
        codes[:, :dim] = np.clip(np.rint(exact / scale[:, None].astype(np.float64)), -LARGEST, LARGEST)
        decoded = codes[:, :dim] * scale[:, None].astype(np.float64)
    else:
        import torch

        half = torch.from_numpy(vectors.copy()).bfloat16()
        scale = np.ones(n, dtype=np.float32)
        codes = half.view(torch.uint16).numpy()
        decoded = half.double().numpy()
    left = exact - decoded
    lengths = [np.sqrt(np.einsum("nd,nd->n", array, array)) * (1 + PAD) for array in (left, decoded)]
    base = base_bounds(squared_lengths(vectors), metric, dim)
    return codes, np.stack([scale, *lengths, base], axis=1).astype(np.float32)


def padded_width(dim: int, kind: str) -> int:
    """Components of a code."""
    return -(-dim // 4) * 4 if kind == "int8" else dim


def multiplied_as(integer: bool, device: str, queries: int) -> str:
    """The type in which integers, or bfloat16, are multiplied fastest by so many queries: "int8", "bf16", "float32"."""
    if device != "cpu":
        return "bf16"
    if not integer:
        return "bf16" if cpu_has("avx512_bf16") else "float32"
    if cpu_has("amx_tile") and queries >= WIDE:
        return "bf16"
    return "int8" if multiplies_int8() else "float32"


@dataclass(frozen=True)
class Multiplier:
    """How codes are multiplied here: as they are, or as a type that this processor multiplies faster, or at all."""

    integer: bool  # whether the codes are integers
    device: str
    kind: str  # "int8", "bf16" or "float32"

    @classmethod
    def of(cls, integer: bool, device: str, queries: int) -> Multiplier:
        """For so many queries at a time."""
        return cls(integer, device, multiplied_as(integer, device, queries))

    @property
    def as_they_are(self) -> bool:
        """Whether the codes need not be converted before they are multiplied."""
        return self.kind == ("int8" if self.integer else "bf16")

    @property
    def output(self) -> float:
        """u: what the product is rounded by when it is returned."""
        return 2.0**-8 if self.kind == "bf16" and self.device == "cpu" else 0.0

    def gamma(self, dim: int) -> float:
        """γ: integers are summed without rounding."""
        return 0.0 if self.kind == "int8" else product_rounding(dim)

    def tensor(self, codes: NDArray[Any]) -> torch.Tensor:
        """Codes on the device, in the type that is multiplied."""
        import torch

        given = as_tensor(codes)
        return self.typed((given if self.integer else given.view(torch.bfloat16)).to(self.device))

    def typed(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes in the type that is multiplied."""
        import torch

        return codes.to({"int8": torch.int8, "bf16": torch.bfloat16, "float32": torch.float32}[self.kind])

    def multiply(self, rows: torch.Tensor, others: torch.Tensor, out: torch.Tensor) -> None:
        """`rows @ others` into `out`, float32, in the codes' own unit; `rows` may be of the type they are kept in."""
        import torch

        if others.dtype is torch.int8:
            product = torch._int_mm(rows, others, out=out.view(torch.int32))  # the same bytes become float32 below
        elif self.device == "cpu":
            product = torch.mm(rows.to(others.dtype), others)
        else:
            product = torch.mm(rows.to(others.dtype), others, out_dtype=torch.float32)
        out.copy_(product)  # by itself: twice as fast as multiplying integers by floats


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """A tensor over the same memory; torch warns of arrays mapped for reading, and nothing here writes."""
    import torch

    if array.flags.writeable:
        return torch.from_numpy(array)
    interface = dict(array.__array_interface__)
    interface["data"] = (interface["data"][0], False)
    return torch.from_numpy(np.asarray(_Writable(interface, array)))


@dataclass
class _Writable:
    __array_interface__: dict[str, Any]
    owner: NDArray[Any]  # keeps the memory alive


def squared_lengths(vectors: Vectors) -> NDArray[np.float64]:
    """‖x‖² of each row, float64, a few thousand rows at a time."""
    squares = np.empty(len(vectors), dtype=np.float64)
    for start in range(0, len(vectors), 4096):
        part = vectors[start : start + 4096].astype(np.float64)
        squares[start : start + 4096] = np.einsum("nd,nd->n", part, part)
    return squares


def product_rounding(dim: int) -> float:
    """γ, relative to ‖q̂‖·‖x̂‖; larger where the user let torch multiply float32 in fewer bits."""
    import torch

    reduced = 0.0 if torch.get_float32_matmul_precision() == "highest" else 2.0**-6
    return 2 * dim * 2.0**-24 + reduced


def base_bounds(squares: NDArray[np.float64], metric: Metric, dim: int) -> NDArray[np.float64]:
    """What each row adds to q·x: nothing, for L2 −‖x‖²/2, made larger by more than rounding takes.

    NaN, which passes every threshold, for a row that is longer than bounds are proven for.
    """
    base = -squares / 2 * (1 - PAD) if metric == Metric.L2 else np.zeros(len(squares))
    base[squares > dim * FAR] = np.nan
    return base
