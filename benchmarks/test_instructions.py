"""A gate that no machine can sway: instructions of the inner kernels, counted by callgrind.

    pytest benchmarks/test_instructions.py        about half a minute

Fewer instructions than recorded fail as well: `python benchmarks/instructions.py --record` writes
down what is better, and the change shows it.
"""

import pytest

import instructions

MARGIN = 0.03

# Least ratio of the portable level's instructions to AVX2's, below what is usual.
AVX2_SAVES = {"distances": 3.2, "scan": 6.0}


@pytest.fixture(scope="module")
def figures():
    try:
        return instructions.measure()
    except instructions.MissingToolError as error:
        pytest.skip(f"missing {error}")


def test_no_kernel_needs_more_than_was_recorded(figures):
    before = instructions.recorded()
    assert figures.keys() == before.keys()
    changed = {
        name: f"{value} per code, recorded {before[name]}"
        for name, value in figures.items()
        if abs(value / before[name] - 1) > MARGIN
    }
    assert not changed


def test_avx2_saves_instructions(figures):
    for name, value in figures.items():
        level, kernel, width = name.split()
        if level == "avx2" and kernel in AVX2_SAVES:
            ratio = figures[f"scalar {kernel} {width}"] / value
            assert ratio >= AVX2_SAVES[kernel], f"{name}: {ratio:.1f} times fewer"
