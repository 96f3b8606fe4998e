"""The formulas of baselines' papers, written down with whole matrices; samples are columns."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Matrix = NDArray[np.float64]


def sgn(x: Matrix) -> Matrix:
    return np.where(x >= 0, 1.0, -1.0)


def cvh(x: Matrix, y: Matrix, ridges: tuple[float, float], n_bits: int) -> tuple[Matrix, Matrix]:
    """Kumar and Udupa: the generalised eigenvectors [0 Cxy; Cyx 0] z = λ [Cxx 0; 0 Cyy] z."""
    n, dx, dy = x.shape[1], len(x), len(y)
    cross = x @ y.T / n
    left = np.block([[np.zeros((dx, dx)), cross], [cross.T, np.zeros((dy, dy))]])
    right = linalg.block_diag(
        x @ x.T / n + ridges[0] * np.eye(dx), y @ y.T / n + ridges[1] * np.eye(dy)
    )
    _, vectors = linalg.eigh(left, right)
    best = vectors[:, ::-1][:, :n_bits]
    return best[:dx], best[dx:]


def scm(
    x: Matrix, y: Matrix, labels: tuple[Matrix, Matrix], ridges: tuple[float, float], n_bits: int
) -> tuple[Matrix, Matrix]:
    """Zhang and Li, sequential: residues of n_bits · S, a generalised eigenproblem for each bit."""
    lx, ly = (one / np.linalg.norm(one, axis=0) for one in labels)
    residue = n_bits * (2 * lx.T @ ly - 1)
    cxx, cyy = x @ x.T + ridges[0] * np.eye(len(x)), y @ y.T + ridges[1] * np.eye(len(y))
    wx, wy = [], []
    for _ in range(n_bits):
        cxy = x @ residue @ y.T
        values, vectors = linalg.eig(cxy @ linalg.inv(cyy) @ cxy.T, cxx)
        w = np.real(vectors[:, np.argmax(np.real(values))])
        wx.append(w)
        wy.append(linalg.inv(cyy) @ cxy.T @ w)
        residue = residue - np.outer(sgn(x.T @ wx[-1]), sgn(y.T @ wy[-1]))
    return np.stack(wx, axis=1), np.stack(wy, axis=1)


def cmfh(
    views: list[Matrix], v: Matrix, mu: float, gamma: float, n_iterations: int
) -> tuple[Matrix, list[Matrix], list[float]]:
    """Ding, Guo and Zhou: V, the hash functions P, and the objective after every round."""
    lam, r = 1 / len(views), len(v)
    eye, objective = np.eye(r), []
    for _ in range(n_iterations):
        u = [x @ v.T @ linalg.inv(v @ v.T + gamma / lam * eye) for x in views]
        p = [v @ x.T @ linalg.inv(x @ x.T + gamma / mu * np.eye(len(x))) for x in views]
        inner = sum(lam * a.T @ a for a in u) + (len(views) * mu + gamma) * eye
        v = linalg.inv(inner) @ sum(
            (lam * a.T + mu * b) @ x for a, b, x in zip(u, p, views, strict=True)
        )
        objective.append(
            sum(lam * np.sum((x - a @ v) ** 2) for a, x in zip(u, views, strict=True))
            + mu * sum(np.sum((v - b @ x) ** 2) for b, x in zip(p, views, strict=True))
            + gamma * (np.sum(v**2) + sum(np.sum(m**2) for m in (*u, *p)))
        )
    return v, p, objective


def dch(
    views: list[Matrix],
    y: Matrix,
    b: Matrix,
    mu: float,
    lam: float,
    ridges: list[float],
    n_sweeps: int,
) -> tuple[Matrix, list[Matrix], list[float]]:
    """Xu et al.: codes B, hash functions F of the last codes, and the objective of every round."""
    r, objective = len(b), []
    b = b.copy()

    def hash_functions() -> list[Matrix]:
        return [
            linalg.inv(x @ x.T + ridge * np.eye(len(x))) @ x @ b.T
            for x, ridge in zip(views, ridges, strict=True)
        ]

    for _ in range(n_sweeps):
        w = linalg.inv(b @ b.T + lam * np.eye(r)) @ b @ y.T
        f = hash_functions()
        q = w @ y + mu * sum(a.T @ x for a, x in zip(f, views, strict=True))
        for k in range(r):
            rest = [j for j in range(r) if j != k]
            b[k] = sgn(q[k] - w[k] @ w[rest].T @ b[rest])
        objective.append(
            np.sum((y - w.T @ b) ** 2)
            + lam * np.sum(w**2)
            + mu * sum(np.sum((b - a.T @ x) ** 2) for a, x in zip(f, views, strict=True))
        )
    return b, hash_functions(), objective
