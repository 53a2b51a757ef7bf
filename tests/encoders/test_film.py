"""Frames of films: which differ, and what encoders give of them."""

import numpy as np
import pytest

from seehear.encoders import Sample, load_encoder
from seehear.encoders.frozen import like_runs
from seehear.media.files import VideoSpec
from tests.library.makers import film


def greys(*values):
    return np.stack([np.full((40, 70, 3), value, np.uint8) for value in values])


@pytest.mark.parametrize(
    ("frames", "runs"),
    [
        (greys(9), [0]),
        (greys(9, 9, 10, 9), [0, 0, 0, 0]),
        (greys(9, 9, 60, 60, 9), [0, 0, 1, 1, 2]),
        (greys(0, 1, 2, 3, 4, 5, 6), [0, 0, 0, 1, 1, 1, 2]),  # slow, but a change in the end
    ],
)
def test_frames_that_hardly_change_are_one_run(frames, runs):
    assert like_runs(frames).tolist() == runs


def test_small_frames_have_runs():
    assert like_runs(np.zeros((2, 3, 5, 3), np.uint8)).tolist() == [0, 0]


def test_a_frame_keeps_its_shape_and_its_number_of_pixels():
    spec = VideoSpec(fps=2.0, most=4, size=160, fit="area")
    assert (spec.shape(100, 100), spec.shape(90, 160), spec.shape(160, 90)) == ((160, 160), (120, 213), (213, 120))
    assert spec.shape(2, 4000) == (92, 277)
    assert [len(spec.times(0.0, seconds)) for seconds in (0.1, 1.0, 1.6, 60.0)] == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    path = str(film(tmp_path_factory.mktemp("films") / "a.mp4", seconds=3.0, colours=True))
    encoder = load_encoder("efficientnet-lite0", device="cpu")
    prepared = [encoder.prepare(Sample(path, 0.0, end)) for end in (3.0, 0.4)]
    return encoder, [*prepared, greys(7, 7, 7, 7)]


def test_a_film_gives_its_frames_and_their_mean(encoded):
    encoder, prepared = encoded
    film, short, still = encoder.encode_parts(prepared)
    assert [len(part.frames) for part in (film, short, still)] == [6, 0, 0]
    assert film.places == pytest.approx([(n + 0.5) / 6 for n in range(6)])
    np.testing.assert_allclose(film.vector, np.mean(film.frames, axis=0), atol=1e-5)
    np.testing.assert_array_equal(encoder.encode(prepared), [film.vector, short.vector, still.vector])


def test_a_run_counts_as_often_as_it_has_frames(encoded):
    encoder, _ = encoded
    (part,) = encoder.encode_parts([greys(0, 0, 0, 255)])
    assert part.places == [0.125, 0.875]
    np.testing.assert_allclose(part.vector, 0.75 * part.frames[0] + 0.25 * part.frames[1], atol=1e-5)
