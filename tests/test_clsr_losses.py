"""The parts of CLSR's loss: gradients against finite differences, values against plain numpy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")
losses = pytest.importorskip("fasthash.models.clsr._losses", reason="needs PyTorch")


def unit(n=6, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, k, generator=generator, dtype=torch.float64)
    return losses.unit_rows(x).requires_grad_()


def some_same(n=6):
    same = torch.zeros(n, n, dtype=torch.bool)
    same[0, 1] = same[1, 0] = same[2, 2] = True
    return same


def everybody_the_same(n=6):
    return torch.ones(n, n, dtype=torch.bool)


def softmax_of_others(x, temperature, left_out):
    logits = np.where(left_out, -np.inf, x @ x.T / temperature)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


PARTS = {
    "contrast": lambda a, b, same: losses.paired_contrast(a, b, 0.3, same),
    "consistency": lambda a, b, same: losses.neighbourhood_consistency(a, b, 0.3, same),
    "semantic": lambda a, b, same: losses.semantic_teaching(a, b.detach(), 0.3, 0.2, same),
}


@pytest.mark.parametrize("same", [None, some_same(), everybody_the_same()])
@pytest.mark.parametrize("part", PARTS)
def test_gradients(part, same):
    a, b = unit(seed=1), unit(seed=2)
    inputs = (a,) if part == "semantic" else (a, b)
    assert torch.autograd.gradcheck(
        lambda *x: PARTS[part](x[0], x[-1] if x[1:] else b, same), inputs
    )


def test_gradients_through_lengths_and_a_temperature_that_is_learned():
    raw = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other, temperature = unit(5, 3), torch.tensor(0.2, dtype=torch.float64)

    def loss(x, t):
        return losses.paired_contrast(losses.unit_rows(x), other.detach(), t)

    assert torch.autograd.gradcheck(loss, (raw.requires_grad_(), temperature.requires_grad_()))


@pytest.mark.parametrize("same", [None, some_same()])
def test_contrast_is_the_cross_entropy_of_cosines(same):
    a, b = (x.detach().numpy() for x in (unit(seed=1), unit(seed=2)))
    logits = a @ b.T / 0.1
    if same is not None:
        logits[same.numpy() & ~np.eye(6, dtype=bool)] = -np.inf
    rows = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    columns = np.log(np.exp(logits).sum(axis=0)) - np.diag(logits)
    ours = losses.paired_contrast(torch.tensor(a), torch.tensor(b), 0.1, same)
    assert ours.item() == pytest.approx((rows.mean() + columns.mean()) / 2)


@pytest.mark.parametrize("same", [None, some_same()])
def test_consistency_is_a_symmetric_divergence(same):
    a, b = unit(seed=1), unit(seed=2)
    left_out = np.eye(6, dtype=bool) | (False if same is None else same.numpy())
    p, q = (softmax_of_others(x.detach().numpy(), 0.2, left_out) for x in (a, b))
    kept = ~left_out
    divergence = sum((s[kept] * np.log(s[kept] / t[kept])).sum() for s, t in ((p, q), (q, p)))
    ours = losses.neighbourhood_consistency(a, b, 0.2, same).item()
    assert ours == pytest.approx(divergence / 2 / 6)
    assert losses.neighbourhood_consistency(a, a, 0.2, same).item() == pytest.approx(0, abs=1e-12)


def test_semantic_teaching_is_least_where_neighbourhoods_are_the_teachers():
    meaning = unit(seed=3).detach()
    at_teacher = losses.semantic_teaching(meaning, meaning, 0.2, 0.2).item()
    p = softmax_of_others(meaning.numpy(), 0.2, np.eye(6, dtype=bool))
    kept = ~np.eye(6, dtype=bool)
    assert at_teacher == pytest.approx(-(p[kept] * np.log(p[kept])).sum() / 6)
    assert losses.semantic_teaching(unit(seed=4), meaning, 0.2, 0.2).item() > at_teacher
    assert meaning.grad is None


def test_what_belongs_together_is_not_pushed_apart():
    """A step on the contrast leaves the cosine of two rows that are no negatives as it is."""
    a, b = unit(seed=1), unit(seed=2)
    losses.paired_contrast(a, b, 0.1, some_same()).backward()
    logits = (a @ b.T / 0.1).detach()
    alone = torch.softmax(logits[0, [0, 2, 3, 4, 5]], 0)
    columns = torch.softmax(logits[[0, 2, 3, 4, 5], 0], 0)
    keep = [0, 2, 3, 4, 5]
    weights = alone.clone()
    weights[0] -= 1
    gradient = (weights[:, None] * b.detach()[keep]).sum(0)
    # Row 0 is also a candidate of the other columns.
    for j in keep:
        others = [i for i in range(6) if not some_same()[i, j] or i == j]
        p = torch.softmax(logits[others, j], 0)[others.index(0)]
        gradient += (p - (1.0 if j == 0 else 0.0)) * b.detach()[j]
    torch.testing.assert_close(a.grad[0], gradient / 0.1 / 6 / 2)
    assert len(columns) == 5


def test_the_temperature_follows_alignment_within_its_bounds():
    a = unit(seed=1)
    opposite = losses.adaptive_temperature(a, -a, 0.1, 0.5, (0.01, 0.3))
    across = losses.adaptive_temperature(a, unit(seed=2), 0.1, 0.5, (0.01, 0.3))
    aligned = losses.adaptive_temperature(a, a, 0.1, 0.5, (0.01, 0.3))
    assert opposite.item() == pytest.approx(0.05) and aligned.item() == pytest.approx(0.15)
    assert opposite < across < aligned
    assert not aligned.requires_grad
    assert losses.adaptive_temperature(a, a, 0.1, 5.0, (0.01, 0.3)).item() == pytest.approx(0.3)
    assert losses.adaptive_temperature(a, a, 0.1, -5.0, (0.01, 0.3)).item() == pytest.approx(0.01)
    assert losses.adaptive_temperature(a, a, 0.1, 0.0, (0.01, 0.3)).item() == pytest.approx(0.1)


def test_a_zero_row_has_no_direction_and_no_gradient_that_is_no_number():
    x = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    losses.paired_contrast(losses.unit_rows(x), unit(3, 2), 0.1).backward()
    assert torch.isfinite(x.grad).all()
