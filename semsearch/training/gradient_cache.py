"""The gradient of a loss over many texts, in the memory of a few.

A loss that compares all texts of a batch with each other needs all vectors at once, and what lies between texts and
vectors takes hundreds of times their room. So vectors are made without it, the loss gives a gradient for each vector,
and each part of the texts is run once more, with what lies between, to carry its vectors' gradients on to the weights
(Gao et al., 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). It is the gradient of the
whole batch, and costs one more forward pass; a batch that fits goes through at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TextsPart = Callable[[], Tensor]  # makes the vectors (n, d) of some texts, the same each time


def backward(parts: Sequence[TextsPart], seed: int, loss: Callable[[Tensor], Tensor], *, at_once: bool) -> float:
    """Add the gradient of a loss to the weights' `grad`; the loss.

    Args:
        parts: Texts to vectors.
        seed: Of what is drawn within a part (dropout): it is drawn alike each time.
        loss: Of the vectors of all parts, (sum of n, d) in their order, to a scalar.
        at_once: Keep what lies between of all parts, which saves a pass.
    """

    def run(number: int) -> Tensor:
        torch.manual_seed((seed << 16) + number)
        return parts[number]()

    if at_once or len(parts) == 1:
        value = loss(torch.cat([run(number) for number in range(len(parts))]))
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())
    with torch.no_grad():
        made = [run(number) for number in range(len(parts))]
    vectors = torch.cat(made).requires_grad_()
    value = loss(vectors)
    (gradient,) = torch.autograd.grad(value, vectors)
    start = 0
    for number, own in enumerate(made):
        run(number).backward(gradient[start : start + len(own)])  # type: ignore[no-untyped-call]
        start += len(own)
    return float(value.detach())
