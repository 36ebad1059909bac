"""Integer codes in the order in which oneDNN multiplies them: for a few queries at a time three times `torch._int_mm`.

The product is exact: bytes are multiplied and added as integers. Queries go in as unsigned bytes 128 larger, which the
processor multiplies by signed ones; what that adds to each row is taken off again inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FEW = 8  # queries up to which this is the faster way
ROWS = 1 << 16  # packed together
OFFSET = 128


class PackedCodes:
    """A copy of int8 codes `(n, dim)`, multiplied by at most `FEW` queries."""

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor) -> None:
        """Takes as long as a few dozen searches, and as much memory as the codes; `scales` `(n,)` are those of rows."""
        import torch

        pack = torch.ops.onednn.qlinear_prepack
        self._scales = scales.contiguous()
        self._chunks = [pack(codes[start : start + ROWS], None) for start in range(0, len(codes), ROWS)]
        self._one, self._zero = torch.ones(1), torch.zeros(1, dtype=torch.int64)

    def multiply(self, queries: torch.Tensor, rows: slice, out: torch.Tensor) -> None:
        """The products of codes `rows` and int8 queries `(dim, q)`, times the rows' scales, into `out` `(rows, q)`."""
        import torch

        few = queries.shape[1]
        shifted = queries.T.to(torch.int16).add_(OFFSET).to(torch.uint8).contiguous()
        for number in range(rows.start // ROWS, -(-rows.stop // ROWS)):
            first = number * ROWS
            product = torch.ops.onednn.qlinear_pointwise(
                shifted,
                1.0,
                OFFSET,
                self._chunks[number],
                self._one,
                self._zero,
                None,
                1.0,
                0,
                torch.float32,
                "none",
                [],
                "",
            )  # (q, rows of the chunk)
            begin, end = max(rows.start, first), min(rows.stop, first + product.shape[1])
            part, scales = product[:, begin - first : end - first], self._scales[begin:end]
            room = out[begin - rows.start : end - rows.start]
            if few == 1:
                torch.mul(part[0], scales, out=room.view(-1))  # as rows of numbers: columns of one take torch longer
            else:
                torch.mul(part.T, scales[:, None], out=room)


def can_pack(dim: int) -> bool:
    """Whether this torch multiplies packed codes on this processor, and rightly: found out by doing it."""
    import torch

    if not torch.cpu._is_vnni_supported() or not hasattr(torch.ops.onednn, "qlinear_prepack"):
        return False
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, (48, dim), dtype=torch.int8, generator=draw)
    queries = torch.randint(-127, 128, (dim, 2), dtype=torch.int8, generator=draw)
    codes[0], queries[:, 0] = 127, -127
    found = torch.empty(len(codes), 2)
    try:
        PackedCodes(codes, torch.ones(len(codes))).multiply(queries, slice(0, len(codes)), found)
    except (RuntimeError, TypeError, NotImplementedError):  # another signature, or none for this processor
        return False
    return bool((found.double() - codes.double() @ queries.double()).abs().max() <= 2.0**-24 * 127 * 127 * dim)
