"""The fast core of the campaign in `benchmarks/faults`; all of it is `make faults`."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from benchmarks.faults import builders, fuzz, kills, malicious, mutants, together
from benchmarks.faults.mutate import mutants as make_mutants
from benchmarks.faults.stages import STAGES, Reference
from tests.faults.outcome import Outcome


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Results of `prepare` alone: what the default suite can afford."""
    return Reference(tmp_path_factory.mktemp("faults"), files=12, stages=STAGES[:1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Reference(tmp_path_factory.mktemp("faults"))


def right(*all_found: Outcome) -> None:
    wrong = [f"{found.what}: {line}" for found in all_found for line in found.wrong]
    assert not wrong, "\n".join(wrong)
    assert all(found.tried for found in all_found)


def test_prepare_killed_before_a_write_and_resumed(reference):
    killed_and_resumed(reference, "prepare")


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES[1:])
def test_killed_before_a_write_and_resumed(whole, stage):
    killed_and_resumed(whole, stage)


def killed_and_resumed(reference: Reference, stage: str) -> None:
    chance = random.Random(f"suite {stage}")
    reference.work.copy_of(reference.before[stage])
    assert kills.killed(reference, stage, "write", chance, again=False)
    assert kills.run(reference.work.words(stage, again=True)).status == 0
    assert reference.differences(stage) == []


@pytest.mark.slow
def test_two_that_encode_at_once(whole):
    right(together._same(whole, "encode", 1))


@pytest.mark.slow
def test_models_that_ask_for_memory(whole):
    right(malicious._models(whole))


def test_damaged_media_are_all_counted(tmp_path):
    right(*mutants.read(tmp_path / "damaged", count=24, seed=7))


def test_mutants_belong_to_their_seed(tmp_path):
    one = [path.read_bytes() for path in make_mutants(tmp_path / "a" / "m", count=6, seed=3)]
    rest = [path.read_bytes() for path in make_mutants(tmp_path / "b" / "m", count=3, seed=3, first=3)]
    assert len(set(one)) == 6
    assert one[3:] == rest


def test_readers_bear_with_anything(tmp_path):
    right(fuzz.outcome_of_hypothesis(tmp_path, 8, 5))


@pytest.mark.slow
def test_a_study_killed_inside_save_model_completes(whole):
    right(*kills.studies(whole, times=1, seed=1))


def test_a_large_member_is_what_it_says(tmp_path):
    """One block repeated, and what is left over, are the zeros that the header declares."""
    held = np.load(builders.npz(tmp_path / "a.npz", "features", size=40 * 10**6))["features"]
    assert held.shape == (78_125, 128)
    assert not held.any()


@pytest.mark.parametrize("frames", [1, 3])
def test_a_webp_of_no_bits_is_read_as_one(frames):
    with pytest.warns(Image.DecompressionBombWarning), Image.open(io.BytesIO(builders.webp(frames))) as image:
        assert (image.format, image.size, image.n_frames) == ("WEBP", (16_383, 8_191), frames)
