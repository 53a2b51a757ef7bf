"""Where in a clip the model looks."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.inputs.raw.config import (
    Part,
    RawConfig,
    Span,
    Starts,
    frames_part,
    latest,
    reach,
    sample_of,
    samples_part,
    spaced,
    starts,
)
from seehear.inputs.raw.sample import Drawn

seconds = st.floats(0.0, 30.0)
rates = st.sampled_from([1.0, 2.0, 7.5, 10.0, 12.5, 25.0, 29.97])


def test_a_span_has_whole_ticks():
    assert Span(0.0, 3.2, 10.0).ticks == 32
    assert Span(0.1, 3.3, 10.0).ticks == 32  # 3.2 in floating point is a little less
    assert Span(0.0, 2.99, 10.0).ticks == 29
    assert Span(0.0, 0.04, 10.0).ticks == 1
    assert Span(0.0, 0.0, 10.0).ticks == 1


def test_windows_are_spaced_from_the_first_place_to_the_last():
    assert [spaced(n, 4, 9) for n in range(4)] == [0, 3, 6, 9]
    assert [spaced(n, 1, 9) for n in range(1)] == [4]
    assert [spaced(n, 3, 0) for n in range(3)] == [0, 0, 0]
    assert latest(Span(0.0, 10.0, 2.0), 4.0) == 12
    assert latest(Span(0.0, 3.0, 2.0), 4.0) == 0


def test_short_pictures_lie_within_long_sound():
    """MAViL: 4 s at 2 fps within 10 s of sound."""
    span = Span(0.0, 10.0, 2.0)
    middle = partial(spaced, 0, 1)
    assert starts(span, 4.0, 10.0, window=middle, inside=middle) == Starts(0, 6, 0)
    assert starts(span, 4.0, 10.0, window=middle, inside=lambda last: last) == Starts(0, 12, 0)
    assert starts(span, 4.0, 2.0, window=lambda last: last, inside=lambda last: last) == Starts(12, 12, 16)
    assert starts(span, 4.0, 4.0, window=lambda last: last, inside=lambda last: 99) == Starts(12, 12, 12)
    short = Span(0.0, 5.0, 2.0)  # sound is repeated; pictures need not be
    assert starts(short, 4.0, 10.0, window=middle, inside=lambda last: last) == Starts(0, 2, 0)


@given(start=seconds, length=seconds, rest=seconds, wanted=st.floats(0.1, 20.0))
def test_a_clip_reaches_as_far_as_its_file(start, length, rest, wanted):
    end = start + length
    low, high = reach(start, end, end + rest, wanted)
    assert 0.0 <= low <= start
    assert end <= high <= end + rest + 1e-9
    assert high - low >= min(wanted, end + rest) - 1e-9
    if length >= wanted:
        assert (low, high) == pytest.approx((start, end))
    assert reach(start, end, 0.0, wanted) == (start, end)


def test_a_clip_is_extended_evenly():
    assert reach(4.0, 5.0, 10.0, 3.0) == (3.0, 6.0)
    assert reach(0.5, 1.5, 10.0, 3.0) == (0.0, 3.0)
    assert reach(9.0, 10.0, 10.0, 3.0) == (7.0, 10.0)
    assert reach(1.0, 2.0, 2.5, 3.0) == (0.0, 2.5)


@given(begin=seconds, length=seconds, fps=rates, frames=st.integers(1, 40), u=st.floats(0, 1, exclude_max=True))
def test_pictures_and_sound_of_a_window_are_the_same_stretch(begin, length, fps, frames, u):
    span, rate = Span(begin, begin + length, fps), 1000
    asked = frames / fps
    begun = starts(span, asked, asked, window=lambda last: int(u * (last + 1)), inside=lambda last: 0)
    assert begun.video == begun.audio == begun.window
    assert 0 <= begun.video <= latest(span, asked)
    video = frames_part(span, begun.video, frames, loop=True)
    audio = samples_part(span, begun.audio, round(asked * rate), rate, loop=True)
    assert 0 <= video.first <= video.first + video.count <= span.ticks
    assert audio.first + audio.count <= round(length * rate) + 2
    assert abs(video.first / fps - audio.first / rate) <= 1 / rate + 1e-9
    assert len(video.laid_out(np.arange(video.count))) == frames
    assert len(audio.laid_out(np.arange(audio.count))) == round(asked * rate)
    assert (video.pick is None) == (frames <= span.ticks)
    if length >= asked:
        assert audio.pick is None


@given(length=st.floats(0.01, 3.0), fps=rates, frames=st.integers(1, 40))
def test_what_is_repeated_stays_side_by_side(length, fps, frames):
    """Frame n and sample n * rate / fps come round together."""
    span, rate = Span(0.0, length, fps), 12_000
    video = frames_part(span, 0, frames, loop=True)
    audio = samples_part(span, 0, round(frames / fps * rate), rate, loop=True)
    if video.pick is not None and audio.pick is not None and length * fps >= 1:
        again = int(np.argmax(audio.pick[1:] == 0)) + 1
        assert abs(again / rate - video.count / fps) < 1 / rate + 1e-9
        assert video.pick.tolist() == [n % span.ticks for n in range(frames)]


def test_without_repeating_the_last_picture_stays_and_silence_follows():
    span = Span(0.0, 0.5, 10.0)
    pictures = frames_part(span, 2, 6, loop=False).laid_out(np.arange(5))
    assert pictures.tolist() == [2, 3, 4, 4, 4, 4]
    sound = samples_part(span, 0, 10, 10, loop=False).laid_out(np.arange(1, 6, dtype=np.float32))
    assert sound.tolist() == [1, 2, 3, 4, 5, 0, 0, 0, 0, 0]


def test_less_was_read_than_asked_for():
    """A picture is one frame, whatever is asked; a sample may be missing at the end."""
    assert Part(0, 3).laid_out(np.array([7])).tolist() == [7, 7, 7]
    assert Part(2, 3).laid_out(np.array([1, 2])).tolist() == [1, 2, 2]
    assert Part(5, 3).laid_out(Part(5, 3).out_of(np.array([7]))).tolist() == [7, 7, 7]
    assert Part(1, 2).out_of(np.arange(5)).tolist() == [1, 2]
    assert Part(0, 3, np.array([0, 2, -1])).laid_out(np.array([5.0, 6.0])).tolist() == [5.0, 6.0, 0.0]


def test_the_windows_of_a_run():
    config, span = RawConfig(frames=20, seconds=1.0), Span(0.0, 10.0, 10.0)
    begun = [Drawn(0, 0, index).starts(span, config) for index in range(4)]
    assert begun == [Starts(71, 71, 77), Starts(58, 58, 67), Starts(34, 34, 44), Starts(40, 40, 49)], (
        "a change of draws breaks the resumption of runs"
    )


@pytest.mark.parametrize("start", [0.0, 0.123456, 7.77777])
def test_samples_are_counted_on_the_grid_of_the_file(start):
    span = Span(start, start + 10, 7.5)
    for tick in range(0, 60, 7):
        assert sample_of(span, tick, 16_000) == round((start + tick / 7.5) * 16_000) - round(start * 16_000)
