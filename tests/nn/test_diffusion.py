"""Schedules, x_t and sinusoids against the numbers of the method sheet; the way back against DDPM's posterior."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.nn.diffusion import Diffusion, Schedule, TimeEmbedding, alpha_bars, sample, sinusoid, visited
from seehear.nn.random import Randomness

TABLE = {
    0: (0.999900, 0.999749, 0.999369, 0.998415, 0.996019, 0.999959),
    1: (0.999780, 0.999453, 0.998640, 0.996618, 0.991597, 0.999913),
    9: (0.998105, 0.995560, 0.989600, 0.975710, 0.943698, 0.999369),
    49: (0.971016, 0.940663, 0.880252, 0.765832, 0.570995, 0.992007),
    99: (0.897018, 0.808883, 0.660196, 0.442217, 0.199570, 0.972093),
    249: (0.524085, 0.315089, 0.125954, 0.023899, 0.001146, 0.847012),
    499: (0.078587, 0.014266, 0.000801, 0.000006, 0.000000, 0.493844),
    749: (0.003351, 0.000106, 0.000000, 0.000000, 0.000000, 0.144272),
}
SCHEDULES = [Schedule(rho=rho) for rho in (1.0, 0.9, 0.8, 0.7, 0.6)] + [Schedule(shape="cosine", rho=1.0)]


def test_alpha_bar_of_the_sheet():
    tables = [alpha_bars(s) for s in SCHEDULES]
    for t, row in TABLE.items():
        assert tuple(round(float(abar[t]), 6) for abar in tables) == row
    last = [float(abar[999]) for abar in tables]
    assert last == pytest.approx([4.0358e-5, 1.3716e-7, 1.7077e-11, 1.0e-17, 9.2e-28, 2.43e-9], rel=2e-2)


def test_more_of_rho_08():
    abar, more = alpha_bars(Schedule()), {10: 0.988100, 50: 0.876481, 100: 0.655452, 134: 0.496695, 200: 0.244553}
    more |= {300: 0.056071, 391: 0.009915, 400: 0.008192, 500: 0.000781, 600: 0.000049}
    assert {t: round(float(abar[t]), 6) for t in more} == more
    beta = 1 - abar / torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    assert [round(float(beta[t]), 8) for t in (0, 1, 499, 999)] == [0.00063096, 0.00072965, 0.02519929, 0.04373448]
    assert bool((abar.diff() < 0).all())
    # rho is a power of beta: neither a factor nor a power of abar, both of which leave 160 times more signal
    assert float(abar[499]) < 0.130702 / 160


@pytest.mark.parametrize(
    ("schedule", "half", "hundredth", "share", "mean"),
    [
        (SCHEDULES[0], 259, 673, 0.327, 0.275513),
        (SCHEDULES[1], 190, 521, 0.479, 0.204389),
        (SCHEDULES[2], 134, 391, 0.609, 0.146228),
        (SCHEDULES[3], 90, 283, 0.717, 0.100131),
        (SCHEDULES[4], 57, 195, 0.805, 0.064973),
    ],
)
def test_where_signal_is_lost(schedule, half, hundredth, share, mean):
    abar = alpha_bars(schedule)
    assert (int((abar >= 0.5).sum()), int((abar >= 0.01).sum())) == (half, hundredth)
    assert float((abar < 0.01).double().mean()) == pytest.approx(share)
    assert float(abar.mean()) == pytest.approx(mean, abs=5e-7)
    assert float((1 - abar).mean()) == pytest.approx(1 - mean, abs=1e-6)  # error of the best shrinking, unit variance


def test_x_t_of_the_sheet():
    x0, noise = torch.tensor([[[1.0, -2.0, 0.5]]]).double(), torch.tensor([[[0.3, -0.1, 1.2]]]).double()
    diffusion = Diffusion(Schedule())
    for t, wanted in {
        0: [1.007220, -2.001881, 0.529985],
        99: [0.987403, -1.683342, 1.105775],
        499: [0.328180, -0.156561, 1.213670],
    }.items():
        found = diffusion(x0, torch.tensor([t]), noise)[0, 0].tolist()
        assert found == pytest.approx(wanted, abs=1e-6)
    coefficients = [(float(diffusion.keeps[t]), float(diffusion.noises[t])) for t in (0, 99, 499)]
    wanted = [(0.999684, 0.025119), (0.812525, 0.582927), (0.028301, 0.999599)]
    assert [(round(a, 6), round(b, 6)) for a, b in coefficients] == wanted


def test_unit_variance_stays_unit_variance():
    g, diffusion = torch.Generator().manual_seed(0), Diffusion(Schedule())
    x0, noise = torch.randn(1, 100_000, 1, generator=g), torch.randn(1, 100_000, 1, generator=g)
    for t in (0, 99, 134, 300, 999):
        assert float(diffusion(x0, torch.tensor([t]), noise).var()) == pytest.approx(1.0, abs=0.02)


def test_each_row_has_a_step_of_its_own_from_0_to_999():
    diffusion, rows = Diffusion(Schedule()), 20_000
    t = diffusion.draw(Randomness(0, 0, 0, rows, rows), "t")
    assert t.dtype == torch.int64
    assert int(t.min()) == 0
    assert int(t.max()) == 999
    counts = torch.bincount(t // 100, minlength=10)
    assert int(counts.min()) > 1800
    assert int(counts.max()) < 2200
    part = diffusion.draw(Randomness(0, 0, 5, 9, rows), "t")
    assert torch.equal(part, t[5:9])
    mixed = diffusion(torch.ones(2, 3, 4), torch.tensor([0, 999]), torch.zeros(2, 3, 4))
    assert float(mixed[0].min()) > 0.999
    assert float(mixed[1].max()) < 1e-5


def test_sinusoids_of_the_sheet():
    found = sinusoid(torch.tensor([10, 999]), 8).tolist()
    assert found[0] == pytest.approx(
        [-0.839072, 0.540302, 0.995004, 0.999950, -0.544021, 0.841471, 0.099833, 0.01], abs=1e-6
    )
    wanted = [0.999650, 0.807459, -0.844470, 0.541144, -0.026461, -0.589924, -0.535603, 0.840930]
    assert found[1] == pytest.approx(wanted, abs=1e-5)  # float32 angles
    assert sum(p.numel() for p in TimeEmbedding(512).parameters()) == 394_240


@pytest.mark.parametrize("steps", [2, 10, 1000])
def test_the_way_back_ends_at_what_the_model_says(steps):
    """A model that always knows x_0 is left with x_0, from whatever noise, with and without new noise on the way."""
    g = torch.Generator().manual_seed(0)
    x0 = torch.randn(2, 3, 4, generator=g)
    seen = []

    def knows(x, t):
        seen.append((x.clone(), t))
        return x0

    def noise(step):
        return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(step))

    for eta in (0.0, 1.0):
        seen.clear()
        torch.testing.assert_close(sample(knows, noise, Schedule(), steps=steps, eta=eta), x0)
        assert len(seen) == steps
        assert seen[0][1].tolist() == [999, 999]
        assert seen[-1][1].tolist() == [0, 0]
        assert torch.equal(seen[0][0], noise(1000))


def test_one_step_is_one_forward_pass():
    calls = []
    out = sample(lambda x, t: calls.append(t.tolist()) or x * 2, lambda _: torch.ones(1, 2), Schedule(), steps=1)
    assert calls == [[999]]
    assert out.tolist() == [[2.0, 2.0]]


def test_all_steps_with_new_noise_are_ddpm():
    """q(x_{t-1} | x_t, x_0): mean sqrt(abar_{t-1}) beta_t / (1 - abar_t) x_0 + sqrt(alpha_t) (1 - abar_{t-1}) /
    (1 - abar_t) x_t, variance beta_t (1 - abar_{t-1}) / (1 - abar_t)."""
    schedule, z = Schedule(steps=4, first=0.1, last=0.4, rho=1.0), {4: 0.7, 3: -1.1, 2: 0.4, 1: 1.9}
    says = {3: 0.5, 2: -0.2, 1: 0.9, 0: 0.3}
    x, abar = z[4], [1.0, *(math.prod(1 - b for b in (0.1, 0.2, 0.3, 0.4)[: i + 1]) for i in range(4))]
    for t in (3, 2, 1, 0):
        beta, before, now = (0.1, 0.2, 0.3, 0.4)[t], abar[t], abar[t + 1]
        mean = before**0.5 * beta / (1 - now) * says[t] + (1 - beta) ** 0.5 * (1 - before) / (1 - now) * x
        x = mean + (beta * (1 - before) / (1 - now)) ** 0.5 * z.get(t, 0.0)
    found = sample(
        lambda _, t: torch.full((1, 1), says[int(t)], dtype=torch.float64),
        lambda t: torch.full((1, 1), z[t], dtype=torch.float64),
        schedule,
        steps=4,
        eta=1.0,
    )
    assert float(found) == pytest.approx(x, abs=1e-12)


@given(st.integers(2, 400), st.data())
def test_a_sampler_goes_down_from_the_last_step_to_0(total, data):
    steps = data.draw(st.integers(1, total))
    times = visited(total, steps)
    assert len(times) == steps
    assert times[0] == total - 1
    assert all(a > b for a, b in itertools.pairwise(times))
    assert steps == 1 or times[-1] == 0


def test_impossible_schedules():
    for options in ({"steps": 1}, {"first": 0.0}, {"first": 0.1, "last": 0.01}, {"last": 1.0}, {"rho": 0.0}):
        with pytest.raises(SeehearError, match="two steps at least"):
            Schedule(**options)
    with pytest.raises(ValueError, match="between 1 and 1000"):
        visited(1000, 1001)
