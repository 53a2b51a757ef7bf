"""The papers' numbers, in multiply-adds: reference sheets of MAViL (5.2, 5.3) and DiffMAViL (5.3, 5.4, 10)."""

from dataclasses import fields, replace

import pytest
import torch

from seehear.methods import mavil_cost
from seehear.methods.diffmavil import Curriculum, DiffMAViL, DiffMAViLConfig
from seehear.methods.mavil import MAViL
from seehear.methods.mavil_config import SIZES, FastPaths, MAViLConfig
from seehear.methods.mavil_cost import activations, forward, inference, patch_counts, training
from seehear.nn.flops import count_flops
from seehear.nn.random import Randomness
from seehear.nn.transformer import Size
from seehear.train.optim import gradients

PLAIN = FastPaths(visible_only=False, joined_views=False, needed_only=False)
MAVIL = MAViLConfig(fast=PLAIN)
BOTH_CROSS = ("cross", "cross")
SMALL = replace(MAVIL, size=SIZES["small"], decoder=Size(layers=4, width=256, hidden=1024, heads=8))
LARGE = replace(MAVIL, size=SIZES["large"])
TINY = replace(
    MAVIL,
    size=SIZES["tiny"],
    fusion_layers=1,
    decoder=Size(layers=2, width=96, hidden=384, heads=3),
    frames=(4, 64, 64),
    mel_frames=128,
)


def with_decoders(audio, video, *, noised=True, of=MAVIL):
    settings = {f.name: getattr(of, f.name) for f in fields(of) if f.name != "decoders"}
    diffuse = ("audio", "video") if noised else ()
    return DiffMAViLConfig(**settings, decoders={"audio": audio, "video": video}, diffuse=diffuse)


DIFF = with_decoders("joint", "cross")


def parts_of(config, ratio=0.8):
    """As the papers count: without the embedding of the diffusion step."""
    return {k: v for k, v in forward(config, ratio).items() if not k.endswith(("sinusoids", "step"))}


def total(config, ratio=0.8):
    return sum(parts_of(config, ratio).values())


def mean(config, ratios):
    return sum(total(config, ratio) for ratio in ratios) / len(ratios)


def one_view(config):
    return replace(config, intra_weight=0.0)


def linear(start, end, epochs=20):
    return [start + (end - start) * e / (epochs - 1) for e in range(epochs)]


def saved(shape, ratios=(0.8,), *, against=MAVIL):
    """In percent of MAViL at 0.8."""
    return round(100 * (1 - mean(shape, ratios) / total(replace(against, intra_weight=shape.intra_weight))), 2)


def test_exact_integers():
    assert total(one_view(MAVIL)) == 68_301_705_216
    assert total(MAVIL) == 91_034_591_232
    assert total(one_view(DIFF)) == 58_559_672_320


@pytest.mark.parametrize(
    ("ratio", "one", "two", "diff_one", "diff_two"),
    [
        (0.75, 75.359, 104.069, 65.020, 93.731),
        (0.80, 68.302, 91.035, 58.560, 81.293),
        (0.85, 61.460, 78.389, 52.275, 69.203),
        (0.90, 54.828, 66.120, 46.174, 57.465),
        (0.95, 48.200, 53.847, 40.051, 45.699),
    ],
)
def test_totals_by_ratio(ratio, one, two, diff_one, diff_two):
    found = [total(s, ratio) / 1e9 for s in (one_view(MAVIL), MAVIL, one_view(DIFF), DIFF)]
    assert [round(f, 3) for f in found] == [one, two, diff_one, diff_two]


def test_components_of_diffmavil():
    parts = {k: round(v / 1e9, 3) for k, v in forward(DIFF, 0.8).items()}
    assert parts["audio encoder"] == 8.944
    assert parts["video encoder"] == 13.789
    assert parts["fusion"] == 3.888
    assert parts["audio decoder"] == 15.066
    assert parts["audio head"] == 0.067
    assert parts["video decoder"] == 14.636
    assert parts["video head"] == 0.494
    assert parts["decoder embedding"] == 0.102
    assert parts["second view"] == 22.733
    assert round((forward(DIFF, 0.8)["audio noise"] + forward(DIFF, 0.8)["video noise"]) / 1e9, 3) == 0.548
    assert round((forward(MAVIL, 0.8)["audio patches"] + forward(MAVIL, 0.8)["video patches"]) / 1e9, 3) == 1.026
    assert round(forward(MAVIL, 0.8)["video decoder"] / 1e9, 3) == 24.803
    assert round(forward(MAVIL, 0.8)["video head"] / 1e9, 3) == 0.617


def test_ladder_of_ingredients():
    joint = with_decoders("joint", "joint")
    assert round(total(joint) / 1e9, 3) == 91.582
    assert round(total(with_decoders("joint", "cross", noised=False)) / 1e9, 3) == 80.745
    assert round(total(DIFF) / 1e9, 3) == 81.293
    assert round(mean(DIFF, linear(0.95, 0.80)) / 1e9, 3) == 63.382
    assert round(total(MAVIL, 0.9) / 1e9, 3) == 66.120


@pytest.mark.parametrize(
    ("shape", "ratios", "one", "two"),
    [
        (with_decoders("joint", "joint"), (0.8,), -0.80, -0.60),
        (DIFF, (0.8,), 14.26, 10.70),
        (with_decoders("joint", "cross-self"), (0.8,), 1.82, 1.37),
        (with_decoders(*BOTH_CROSS), (0.8,), 22.61, 16.97),
        (with_decoders("joint", "joint"), linear(0.9, 0.8), 9.08, 13.13),  # the sheet counts diffused patches in
        (MAVIL, linear(0.9, 0.8), 9.93, 13.77),
        (DIFF, linear(0.9, 0.8), 23.38, 23.87),
        (DIFF, linear(0.95, 0.75), 23.33, 23.78),
        (DIFF, linear(0.95, 0.80), 27.90, 30.38),
        (DIFF, linear(0.80, 0.95), 27.90, 30.38),
        (DIFF, linear(0.98, 0.80), 30.59, 34.27),
        (DIFF, linear(0.99, 0.80), 31.47, 35.54),
        (DIFF, linear(0.95, 0.85), 32.43, 36.92),
        (DIFF, (0.9,), 32.40, 36.88),
        (with_decoders(*BOTH_CROSS), linear(0.9, 0.8), 31.20, 29.73),
        (with_decoders(*BOTH_CROSS), linear(0.95, 0.80), 35.46, 36.05),
        (with_decoders(*BOTH_CROSS), linear(0.9, 0.75), 26.88, 23.31),
    ],
)
def test_savings(shape, ratios, one, two):
    assert saved(one_view(shape), ratios) == one
    assert saved(shape, ratios) == two


def test_savings_at_other_sizes():
    small, large, tiny = (with_decoders("joint", "cross", of=of) for of in (SMALL, LARGE, TINY))
    assert (saved(one_view(small), against=SMALL), saved(small, against=SMALL)) == (11.65, 8.15)
    assert round(saved(one_view(small), linear(0.95, 0.8), against=SMALL), 1) == 30.3
    assert round(saved(small, linear(0.95, 0.8), against=SMALL), 1) == 32.7
    assert (saved(one_view(large), against=LARGE), saved(large, against=LARGE)) == (7.54, 4.65)
    assert round(saved(large, linear(0.95, 0.8), against=LARGE), 1) == 34.4
    assert round(saved(one_view(tiny), against=TINY), 1) == -1.9
    assert round(saved(tiny, against=TINY), 1) == -1.3
    assert round(saved(tiny, linear(0.95, 0.8), against=TINY), 1) == 20.8


def test_small_and_tiny_totals():
    assert round(total(one_view(SMALL)) / 1e9, 3) == 13.634
    assert round(total(SMALL) / 1e9, 3) == 19.480
    assert round(total(one_view(TINY)) / 1e9, 4) == 0.0877
    assert round(total(TINY) / 1e9, 4) == 0.1234
    assert [patch_counts(TINY, m, 0.8)[1] for m in ("audio", "video")] == [12, 6]


def test_inference_and_teacher():
    parts = {k: round(v / 1e9, 2) for k, v in inference(MAVIL).items()}
    assert parts == {"audio encoder": 48.52, "video encoder": 78.96, "fusion": 23.55}
    classifier = 1536 * 527
    assert round((sum(inference(replace(MAVIL, fusion_layers=3)).values()) + classifier) / 1e9, 2) == 162.81
    second = replace(MAVIL, teacher="run")
    student = sum(v for k, v in forward(second, 0.8).items() if k != "teacher")
    assert round(student / 1e9, 2) == 90.86
    assert round(forward(second, 0.8)["teacher"] / 1e9, 2) == 151.03
    assert training(second, 0.8)["teacher"] == forward(second, 0.8)["teacher"]


def test_counts_kept():
    for ratio, audio, video in [(0.95, 25, 39), (0.875, 64, 98), (0.842105, 80, 123), (0.75, 128, 196)]:
        assert [patch_counts(MAVIL, m, ratio)[1] for m in ("audio", "video")] == [audio, video]


def test_adaptive_batches():
    """Raw batches of the sheet, 512 at 0.8: by multiply-adds, and by activations."""
    by_macs = [512 * total(DIFF) / total(DIFF, r) for r in (0.95, 0.9, 0.85, 0.8)]
    by_memory = [512 * activations(DIFF, 0.8) / activations(DIFF, r) for r in (0.95, 0.9, 0.85, 0.8)]
    assert [round(b, 1) for b in by_macs] == [910.8, 724.3, 601.4, 512.0]
    assert [round(b, 1) for b in by_memory] == [780.6, 663.8, 578.8, 512.0]


def test_backward_costs_twice_but_for_what_reads_data():
    parts, whole = forward(DIFF, 0.8), training(DIFF, 0.8)
    assert whole["audio encoder"] == 3 * parts["audio encoder"]
    assert whole["video patches"] == 2 * parts["video patches"]
    assert whole["video noise"] == 2 * parts["video noise"]


def test_what_is_not_needed_costs_nothing():
    lean = replace(MAVIL, fast=FastPaths())
    parts, plain = forward(lean, 0.8), forward(MAVIL, 0.8)
    assert parts["video head"] * 784 == plain["video head"] * 628
    assert parts["audio patches"] == 2 * 102 * 256 * 768
    spared = 157 * (9 * 512**2) + 2 * 157 * 785 * 512
    assert plain["video decoder"] - parts["video decoder"] == spared
    half = replace(DIFF, decoded={"video": 0.5, "audio": 1.0})
    assert forward(half, 0.8)["video head"] * 2 == forward(DIFF, 0.8)["video head"]


def test_blocks_by_hand():
    size = Size(layers=1, width=2, hidden=8, heads=1)
    assert mavil_cost.block(3, size) == 12 * 3 * 4 + 2 * 9 * 2
    assert mavil_cost.cross_block(3, 5, size) == 10 * 3 * 4 + 2 * 5 * 4 + 2 * 3 * 5 * 2
    assert mavil_cost.cross_self_block(3, 5, size) == mavil_cost.cross_block(3, 5, size) + 4 * 3 * 4 + 2 * 9 * 2


# -- the models themselves ---------------------------------------------------------------------------------------------

ROWS, SAMPLES = 3, 20_000
SIZE = {
    "size": SIZES["tiny"],
    "fusion_layers": 1,
    "decoder": Size(layers=2, width=96, hidden=384, heads=3),
    "frames": (4, 64, 64),
    "mel_frames": 128,
    "mel_bands": 64,
}
AT_90 = {"curriculum": Curriculum(start=0.9, shape="constant")}
MODELS = {
    "mavil": MAViLConfig(**SIZE),
    "bottleneck": MAViLConfig(**SIZE, fusion="bottleneck"),
    "one view": MAViLConfig(**SIZE, intra_weight=0.0),
    "half decoded": MAViLConfig(
        **SIZE, decoders={"video": "cross", "audio": "cross"}, decoded={"video": 0.5, "audio": 0.25}
    ),
    "diffmavil": DiffMAViLConfig(**SIZE, **AT_90),
    "cross-self": DiffMAViLConfig(
        **SIZE, **AT_90, decoders={"video": "cross-self", "audio": "cross"}, diffuse=("video",)
    ),
}


def counted(config):
    """(formula, counter) of a step, in multiply-adds a clip."""
    diffusion = isinstance(config, DiffMAViLConfig)
    method = DiffMAViL(config) if diffusion else MAViL(config)
    frames, height, width = config.frames
    batch = {
        "video": torch.zeros(ROWS, frames, height, width, 3, dtype=torch.uint8),
        "audio": torch.zeros(ROWS, SAMPLES),
        "group": torch.arange(ROWS),
    }
    rng = Randomness(0, 0, 0, ROWS, ROWS)
    parts = training(config, 0.9 if diffusion else 0.8, samples=SAMPLES)
    return sum(parts.values()), count_flops(lambda: gradients(method, batch, progress=0.0, rng=rng)) / 2 / ROWS


@pytest.mark.parametrize("name", MODELS)
def test_the_formula_is_what_the_model_computes(name):
    formula, counter = counted(MODELS[name])
    pairs = 1 if name == "one view" else 3
    contrast = pairs * 3 * ROWS * 192  # InfoNCE, forward and backward, a clip
    assert formula == counter - contrast


def test_without_short_cuts_it_is_so_too():
    formula, counter = counted(replace(MODELS["mavil"], fast=PLAIN))
    assert formula == pytest.approx(counter, rel=0.003)  # the head is computed for CLS too
