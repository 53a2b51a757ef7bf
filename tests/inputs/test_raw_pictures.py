"""Crops and colours: one of each for a whole clip."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.inputs.raw.config import RawConfig
from seehear.inputs.raw.sample import (
    Box,
    Colours,
    cut,
    draw_colours,
    moving,
    random_box,
    recoloured,
    region_of,
    squared,
    view_box,
)

sides = st.integers(1, 500)


@given(height=sides, width=sides, low=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_a_random_box_lies_in_the_picture(height, width, low, seed):
    box = random_box(height, width, RawConfig(crop=(low, 1.0)), np.random.default_rng(seed))
    assert 0 <= box.top < box.top + box.height <= height
    assert 0 <= box.left < box.left + box.width <= width


def test_areas_and_shapes_are_as_asked():
    config, draws = RawConfig(crop=(0.2, 0.5), aspect=(0.5, 2.0)), np.random.default_rng(0)
    boxes = [random_box(400, 400, config, draws) for _ in range(500)]
    areas = np.array([b.height * b.width / 160_000 for b in boxes])
    shapes = np.array([b.width / b.height for b in boxes])
    assert areas.min() > 0.198
    assert areas.max() < 0.502
    assert abs(areas.mean() - 0.35) < 0.02
    assert shapes.min() > 0.49
    assert shapes.max() < 2.02
    assert abs(np.log(shapes).mean()) < 0.06


def test_without_chance_the_centre_square_is_left():
    config = RawConfig(crop=(1, 1), aspect=(1, 1))
    assert random_box(30, 50, config, np.random.default_rng(0)) == Box(0, 10, 30, 30)


def test_squares_along_the_longer_side():
    assert [view_box(20, 50, n, 3) for n in range(3)] == [Box(0, 0, 20, 20), Box(0, 15, 20, 20), Box(0, 30, 20, 20)]
    assert [view_box(50, 20, n, 2) for n in range(2)] == [Box(0, 0, 20, 20), Box(30, 0, 20, 20)]
    assert view_box(50, 20, 0, 1) == Box(15, 0, 20, 20)


@given(height=sides, width=sides, edges=st.tuples(*[st.floats(0, 0.99)] * 2, *[st.floats(0.001, 1)] * 2))
def test_a_region_has_a_pixel_at_least(height, width, edges):
    top, left, tall, wide = edges
    box = region_of(height, width, (top, left, min(top + tall, 1.0), min(left + wide, 1.0)))
    assert 0 <= box.top < box.top + box.height <= height
    assert 0 <= box.left < box.left + box.width <= width


def test_a_box_is_cut_and_made_square():
    frames = np.zeros((3, 40, 60, 3), np.uint8)
    frames[:, 10:30, 20:50] = [200, 100, 50]
    square = squared(cut(frames, Box(10, 20, 20, 30)), 16)
    assert square.shape == (3, 16, 16, 3)
    assert square.dtype == torch.uint8
    assert (square == torch.tensor([200, 100, 50])).all()
    assert torch.equal(squared(cut(frames, Box(5, 5, 16, 16)), 16), torch.from_numpy(frames[:, 5:21, 5:21]))


# -- colours -----------------------------------------------------------------------------------------------------------


def some(height: int = 12, width: int = 20) -> torch.Tensor:
    return torch.randint(60, 180, (2, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_no_change_of_colours_changes_nothing():
    assert torch.equal(recoloured(some(), Colours()), some())


def test_brightness_is_added_and_cut():
    x = some()
    assert torch.equal(recoloured(x, Colours(brightness=10.0)), x + 10)
    assert (recoloured(x, Colours(brightness=500.0)) == 255).all()
    assert (recoloured(x, Colours(brightness=-500.0)) == 0).all()


def test_contrast_is_around_the_mean_colour():
    x = torch.tensor([[60, 100, 20], [100, 120, 60]], dtype=torch.uint8).view(1, 1, 2, 3)
    expected = torch.tensor([[70, 105, 30], [90, 115, 50]], dtype=torch.uint8).view(1, 1, 2, 3)
    assert torch.equal(recoloured(x, Colours(contrast=0.5)), expected)
    brighter = recoloured(x, Colours(contrast=0.5, brightness=8.0))
    assert torch.equal(brighter, expected + 8)


def test_without_saturation_all_is_grey_of_the_same_brightness():
    grey = recoloured(some(), Colours(saturation=0.0)).float()
    assert (grey.amax(3) - grey.amin(3)).max() <= 1
    luma = some().float() @ torch.tensor([0.299, 0.587, 0.114])
    assert (grey[..., 1] - luma).abs().max() <= 1


def test_hue_turns_red_towards_green_and_back():
    red = torch.tensor([150, 60, 60], dtype=torch.uint8).expand(1, 4, 4, 3)
    turned = recoloured(red, Colours(hue=-1 / 3))
    turns = [colorsys.rgb_to_hsv(*(p.float() / 255).tolist())[0] for p in (turned[0, 0, 0], red[0, 0, 0])]
    third = {round(3 * t) % 3 for t in turns}
    assert len(third) == 2, "a third of the circle is another colour"
    assert (recoloured(turned, Colours(hue=1 / 3)).int() - red.int()).abs().max() <= 2
    assert (recoloured(red, Colours(hue=1.0)).int() - red.int()).abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (12, 20)])
def test_any_number_of_pixels(height, width):
    x = some(height, width)
    changed = recoloured(x, Colours(brightness=5, saturation=1.2, contrast=0.9, hue=0.1))
    pixel = recoloured(x[:, :1, :1], Colours(brightness=5, saturation=1.2, hue=0.1))
    assert changed.shape == x.shape
    assert torch.equal(recoloured(x, Colours(brightness=5, saturation=1.2, hue=0.1))[:, :1, :1], pixel)


def test_how_often_colours_change():
    draws = np.random.default_rng(0)
    changed = [draw_colours(RawConfig(jitter=0.8), draws) for _ in range(1000)]
    assert abs(sum(c is not None for c in changed) - 800) < 50
    assert all(abs(c.hue) <= 0.2 and abs(c.brightness) <= 32 and abs(c.contrast - 1) <= 0.4 for c in changed if c)
    assert draw_colours(RawConfig(jitter=0.0), draws) is None


def test_only_what_moves_is_shown():
    films = torch.full((4, 3, 5, 3), 77, dtype=torch.uint8)
    films[0, 1, 2] += 8  # 6 over the mean of its pixel, and 2 below it in the other frames
    shown = moving(films, 3.0)
    assert shown.dtype == torch.uint8
    assert shown[:, 1, 2, 0].tolist() == [146, 122, 122, 122]
    assert (shown[:, 0] == 128).all()
    assert (shown[:, :, 3:] == 128).all()


def test_motion_is_cut_at_black_and_white():
    films = torch.tensor([10, 20], dtype=torch.uint8)[:, None, None, None].expand(2, 2, 2, 3)
    assert moving(films, 1000.0)[:, 0, 0, 0].tolist() == [0, 255]


def test_in_one_picture_nothing_moves():
    with pytest.raises(SeehearError, match="motion must be 0 where a clip is one picture"):
        RawConfig(frames=1, motion=2.0)
