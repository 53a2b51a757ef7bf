"""NCE and MIL-NCE: the sheet's worked numbers, loops, missing parts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.losses.contrastive import Overlap, info_nce, same_group
from seehear.methods.vatt import mil_nce
from tests.reference import vatt as slow

FORMS = ("paper", "code", "symmetric")
A = [[0.8, 0.1, -0.2], [0.3, 0.6, 0.0], [-0.1, 0.2, 0.7]]
B = [[[0.9, 0.2], [0.1, -0.3]], [[0.0, 0.4], [0.5, 0.7]]]


def of_cosines(s, tau, form="paper", *, dtype=torch.float64, **options):
    """The loss where x_i . y_jl = s[i][j][l]: rows of the unit matrix see columns of s."""
    s = torch.tensor(s, dtype=dtype)
    s = s[:, :, None] if s.dim() == 2 else s
    return mil_nce(torch.eye(len(s), dtype=dtype), s.permute(1, 2, 0), tau, form=form, **options).item()


def nce(x, y, tau, **options):
    """One match a clip."""
    return mil_nce(x, y[:, None], tau, **options)


def unit(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=g, dtype=torch.float64), dim=-1)


@pytest.mark.parametrize(
    ("s", "form", "at_007", "at_1"),
    [
        (A, "paper", 0.006523, 1.137793),
        (A, "code", 0.696422, 1.416648),
        (A, "symmetric", 0.006542, 1.446013),
        (B, "paper", 0.006978, 0.779972),
        (B, "code", 0.696647, 1.157325),
        (B, "symmetric", 0.006979, 0.925294),
    ],
)
def test_worked_numbers(s, form, at_007, at_1):
    assert of_cosines(s, 0.07, form) == pytest.approx(at_007, abs=5e-7)
    assert of_cosines(s, 1.0, form) == pytest.approx(at_1, abs=5e-7)
    assert of_cosines(s, 0.07, form, dtype=torch.float32) == pytest.approx(at_007, abs=2e-6)


def test_worked_numbers_by_clip():
    """Of the slow reference, which the property below holds ours to; the sheet's rows and columns make 'symmetric'."""

    def by_clip(s, tau, form, **options):
        s = [[v if isinstance(v, list) else [v] for v in row] for row in s]
        return list(slow.mil_nce(s, tau, form, **options).values())

    assert by_clip(A, 0.07, "paper") == pytest.approx([0.000839, 0.017881, 0.000849], abs=5e-7)
    assert by_clip(A, 0.07, "code") == pytest.approx([0.693567, 0.702128, 0.693572], abs=5e-7)
    rows, columns = (0.000046, 0.013857, 0.000801), (0.000793, 0.004081, 0.000048)
    both = [r + c for r, c in zip(rows, columns, strict=True)]
    assert by_clip(A, 0.07, "symmetric") == pytest.approx(both, abs=1.5e-6)
    masked = by_clip(A, 0.07, "code", has_y=[[True], [False], [True]])
    assert [1.5 * v for v in masked] == pytest.approx([1.040316, 1.039765], abs=1e-6)
    assert by_clip(B, 0.07, "paper") == pytest.approx([0.000804, 0.013152], abs=5e-7)
    assert by_clip(B, 0.07, "code") == pytest.approx([0.693549, 0.699745], abs=5e-7)
    assert by_clip(B, 1.0, "paper") == pytest.approx([0.778605, 0.781339], abs=5e-7)
    assert by_clip(B, 1.0, "code") == pytest.approx([1.156388, 1.158262], abs=5e-7)


def test_worked_numbers_with_vectors():
    v, a = torch.tensor([[1, 0], [0.6, 0.8], [0, 2]]).double(), torch.tensor([[2, 0.5], [1, 1], [-1, 3]]).double()
    v, a = (torch.nn.functional.normalize(x, dim=1) for x in (v, a))
    assert nce(v, a, 0.07, form="code").item() == pytest.approx(0.726978, abs=5e-7)
    assert nce(v, a, 0.07).item() == pytest.approx(0.066439, abs=5e-7)


def test_worked_masked_number_and_both_totals():
    """A clip without sound is still a negative with what is seen in it."""
    has = torch.ones(3, dtype=torch.bool), torch.tensor([[True], [False], [True]])
    assert of_cosines(A, 0.07, "code", present=has) == pytest.approx(0.693360, abs=5e-7)
    two = of_cosines(A, 0.07, "code") + of_cosines(B, 0.07, "code")
    assert (two, two / 2) == (pytest.approx(1.393069, abs=1e-6), pytest.approx(0.696535, abs=1e-6))


def test_with_one_sentence_both_directions_are_infonce():
    x, y = unit(5, 4), unit(5, 4, seed=1)
    torch.testing.assert_close(nce(x, y, 0.1, form="symmetric"), 2 * info_nce(x, y, 0.1))


def test_the_least_it_can_be():
    one = unit(1, 4)
    assert nce(one, one, 0.07).item() == 0.0
    assert nce(one, one, 0.07, form="code").item() == pytest.approx(math.log(2), abs=1e-12)
    assert nce(one, one, 0.07, form="symmetric").item() == 0.0
    five = unit(1, 5, 4, seed=1)
    assert mil_nce(one, five, 0.07).item() == 0.0
    assert mil_nce(one, five, 0.07, form="code").item() == pytest.approx(math.log(2), abs=1e-12)


@settings(max_examples=40)
@given(
    clips=st.integers(1, 5),
    sentences=st.integers(1, 3),
    tau=st.sampled_from([0.07, 0.5]),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 999),
)
def test_loops_say_the_same_whatever_is_missing(clips, sentences, tau, form, seed):
    g = torch.Generator().manual_seed(seed)
    x, y = unit(clips, 3, seed=seed), unit(clips, sentences, 3, seed=seed + 1)
    has_x, has_y = torch.rand(clips, generator=g) < 0.7, torch.rand(clips, sentences, generator=g) < 0.7
    group = torch.randint(0, 3, (clips,), generator=g)
    excluded = [(i, j) for i in range(clips) for j in range(clips) if i != j and group[i] == group[j]]
    expected = slow.mil_nce(slow.cosines(x.tolist(), y.tolist()), tau, form, has_x, has_y, excluded)
    x[~has_x], y[~has_y] = 7.0, -3.0  # must not matter
    found = mil_nce(x, y, tau, present=(has_x, has_y), form=form, exclude=same_group(group))
    assert found.item() == pytest.approx(slow.mean(expected), abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_permuting_clips_and_shifting_cosines_change_nothing(form):
    order = [2, 0, 1]
    permuted = [[A[i][j] for j in order] for i in order]
    shifted = [[v + 0.25 for v in row] for row in A]
    for s in (permuted, shifted):
        assert of_cosines(s, 0.3, form) == pytest.approx(of_cosines(A, 0.3, form), abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("absent", ["x", "y", "all but one clip", "nothing in common"])
def test_gradients_are_finite_whatever_is_missing(form, absent):
    x, y = unit(4, 3).requires_grad_(), unit(4, 2, 3, seed=1).requires_grad_()
    has_x, has_y = torch.ones(4, dtype=torch.bool), torch.ones(4, 2, dtype=torch.bool)
    if absent == "x":
        has_x[:] = False
    elif absent == "y":
        has_y[:] = False
    elif absent == "all but one clip":
        has_x[1:], has_y[1:] = False, False
    else:
        has_x[:2], has_y[2:] = False, False
    loss = mil_nce(x, y, 0.07, present=(has_x, has_y), form=form)
    loss.backward()
    assert loss.isfinite()
    for gradient in (x.grad, y.grad):
        assert gradient.isfinite().all()
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_gradients_are_those_of_the_formula():
    x, y = unit(3, 3).requires_grad_(), unit(3, 2, 3, seed=1).requires_grad_()
    has = torch.ones(3, dtype=torch.bool), torch.tensor([[True, False], [True, True], [False, False]])
    for form in FORMS:
        assert torch.autograd.gradcheck(lambda a, b, f=form: mil_nce(a, b, 0.5, present=has, form=f), (x, y))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(B, E\) and y \(B, K, E\)"):
        mil_nce(unit(3, 2), unit(3, 2), 0.07)
    with pytest.raises(ValueError, match="exclusion is of 2 rows"):
        nce(unit(3, 2), unit(3, 2), 0.07, exclude=same_group(torch.zeros(2, dtype=torch.long)))


def test_rows_that_share_exactly_the_threshold_are_no_negatives():
    """Halves of (0, 1), (0, 2) and (3, 4): the first two share a half."""
    overlap = Overlap(torch.tensor([[0, 0, 3]]), torch.tensor([[1, 2, 4]]), torch.full((3,), 0.5), threshold=0.5)
    rows, columns = overlap.pairs(slice(0, 3))
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
