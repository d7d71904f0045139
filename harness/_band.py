"""Many shifts of one symmetric matrix: reduced to a band once, after which each shift costs almost nothing.

An orthogonal similarity keeps A + alpha I shifted by the same alpha, so A = Q B Q' with a narrow B serves every alpha:
4/3 p^3 operations once, where each Cholesky factor of A + alpha I costs p^3 / 3. Panel by panel, the part of a block
column below its diagonal block is made triangular by Q_1 = I - V T V' (Householder vectors V, compact WY), and what
lies right of it becomes Q_1' A Q_1 = A - V W' - W V' with Y = A V T and W = Y - V (T' V' Y) / 2.
Bischof, Lang & Sun 2000, "A framework for symmetric band reduction", ACM TOMS 26(4); Golub & Van Loan, section 8.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

WIDTH = 64
"""Columns of a panel: wide enough for matrix products at full speed, narrow enough for the band to stay cheap."""
PAD = 8
"""Columns of storage beside a matrix: rows a power of two apart would all fall on the same few lines of the cache."""
STRIPE = 256
"""Only the lower triangle is worked on, in stripes of so many columns."""


@dataclass(frozen=True, eq=False)
class Band:
    """A = Q B Q' with B block tridiagonal; the vectors that make up Q lie where A was."""

    vectors: list[Float[Tensor, "m b"]]
    triangles: list[Float[Tensor, "b b"]]
    diagonal: list[Float[Tensor, "b b"]]
    below: list[Float[Tensor, "b b"]]

    def solve(
        self, right: Float[Tensor, "p t"], shifts: Sequence[float]
    ) -> tuple[Float[Tensor, "a p t"], Bool[Tensor, " a"]]:
        """(A + alpha I)^-1 right for every alpha, and for which of them a Cholesky factor exists."""
        rotated = right.clone()
        for vectors, triangle in zip(self.vectors, self.triangles, strict=True):
            tail = rotated[-len(vectors) :]
            tail -= vectors @ (triangle.T @ (vectors.T @ tail))
        solutions, exists = _solve_tridiagonal(self.diagonal, self.below, rotated, shifts)
        # all alphas side by side, so that Q is read once
        flat = solutions.movedim(0, 1).reshape(len(right), -1)
        for vectors, triangle in zip(reversed(self.vectors), reversed(self.triangles), strict=True):
            tail = flat[-len(vectors) :]
            tail -= vectors @ (triangle @ (vectors.T @ tail))
        return flat.view(len(right), len(shifts), -1).movedim(1, 0), exists


def band(A: Float[Tensor, "p p"], width: int = WIDTH) -> Band:
    """Reduce a symmetric matrix to a band; reads the lower triangle, A is overwritten."""
    for start, edge in stripes(len(A)):
        mirror(A[start:edge, start:edge])
    found = Band([], [], [], [])
    for start in range(0, len(A), width):
        edge = min(start + width, len(A))
        found.diagonal.append(A[start:edge, start:edge].clone())
        if edge + width < len(A):
            _eliminate(A[edge:, start:edge], A[edge:, edge:], found)
        elif edge < len(A):
            found.below.append(A[edge:, start:edge].clone())
    return found


def square(p: int, device: torch.device) -> Float[Tensor, "p p"]:
    """Room for a p x p matrix, float64, uninitialised."""
    return torch.empty(p, p + PAD, dtype=torch.float64, device=device)[:, :p]


def stripes(n: int) -> list[tuple[int, int]]:
    """(first, end) of each stripe of n columns, counted from the last: those of a trailing submatrix are the same."""
    edges = [0, *range(n % STRIPE or STRIPE, n + 1, STRIPE)] if n else []
    return list(pairwise(edges))


def mirror(A: Float[Tensor, "p p"]) -> None:
    """Make a matrix symmetric in place by copying its lower triangle to the upper."""
    for start, edge in stripes(len(A)):
        A[start:edge, edge:] = A[edge:, start:edge].T
        corner = A[start:edge, start:edge]
        corner.copy_(corner.tril() + corner.tril(-1).T)


def _eliminate(panel: Float[Tensor, "m b"], rest: Float[Tensor, "m m"], found: Band) -> None:
    """One panel: triangular above, its Householder vectors kept in its place, the rest transformed."""
    packed, tau = torch.geqrf(panel)
    found.below.append(packed[: len(tau)].triu())
    vectors = packed.tril_(-1)
    vectors.diagonal().fill_(1)
    vectors *= tau != 0  # a column that was zero already: no reflection
    inverse = (vectors.T @ vectors).triu_(1)
    inverse.diagonal().copy_(torch.where(tau != 0, 1 / tau, 1))
    triangle = torch.linalg.solve_triangular(inverse, torch.eye(len(tau), dtype=panel.dtype), upper=True)
    panel.copy_(vectors)
    found.vectors.append(panel)
    found.triangles.append(triangle)
    _transform(rest, vectors.T.contiguous(), triangle)


def _transform(A: Float[Tensor, "m m"], Vt: Float[Tensor, "b m"], T: Float[Tensor, "b b"]) -> None:
    """A <- A - V W' - W V' on the lower triangle and the stripes' corners; V' is contiguous for speed."""
    X = T.T @ Vt
    W = _product(X, A)
    W.addmm_(W @ X.T, Vt, alpha=-0.5)
    left, right = torch.cat([Vt, W]), torch.cat([W, Vt])
    for start, edge in stripes(len(A)):
        A[start:, start:edge].addmm_(left[:, start:].T, right[:, start:edge], alpha=-1)


def _product(X: Float[Tensor, "b m"], A: Float[Tensor, "m m"]) -> Float[Tensor, "b m"]:
    """X A for a symmetric A of which the lower triangle and the stripes' corners are known."""
    product = torch.zeros_like(X)
    for start, edge in stripes(len(A)):
        product[:, start:].addmm_(X[:, start:edge], A[start:, start:edge].T)
        if edge < len(A):
            product[:, start:edge].addmm_(X[:, edge:], A[edge:, start:edge])
    return product


def _solve_tridiagonal(
    diagonal: Sequence[Tensor], below: Sequence[Tensor], right: Float[Tensor, "p t"], shifts: Sequence[float]
) -> tuple[Float[Tensor, "a p t"], Bool[Tensor, " a"]]:
    """Block Cholesky of B + alpha I for all alphas at once, and its two triangular solves."""
    alphas = torch.tensor(shifts, dtype=right.dtype)[:, None]
    exists = torch.ones(len(shifts), dtype=torch.bool)
    factors: list[Tensor] = []
    links: list[Tensor] = []
    solution = right.expand(len(shifts), -1, -1).clone()
    blocks = torch.split(solution, [len(block) for block in diagonal], dim=1)
    for i, block in enumerate(diagonal):
        shifted = block.expand(len(shifts), -1, -1).clone()
        shifted.diagonal(dim1=1, dim2=2).add_(alphas)
        if i:
            links.append(_divide(below[i - 1], factors[-1]))
            shifted.baddbmm_(links[-1], links[-1].mT, alpha=-1)
            blocks[i].baddbmm_(links[-1], blocks[i - 1], alpha=-1)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        exists &= failed == 0
        factors.append(factor)
        blocks[i].copy_(torch.linalg.solve_triangular(factor, blocks[i], upper=False))
    for i in reversed(range(len(diagonal))):
        if i + 1 < len(diagonal):
            blocks[i].baddbmm_(links[i].mT, blocks[i + 1], alpha=-1)
        blocks[i].copy_(torch.linalg.solve_triangular(factors[i].mT, blocks[i], upper=True))
    return solution, exists


def _divide(block: Float[Tensor, "c b"], factor: Float[Tensor, "a b b"]) -> Float[Tensor, "a c b"]:
    """block L^-T for every L."""
    blocks = block.expand(len(factor), -1, -1)
    divided: Tensor = torch.linalg.solve_triangular(factor.mT, blocks, upper=True, left=False)
    return divided
