"""Patches, positions, DropToken, words: the sheet's counts and numbers."""

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.methods.vatt_config import MelConfig, VATTConfig
from seehear.methods.vatt_layers import LogMel, PatchTokens, Positions, WordTokens, resampled, resampling
from seehear.nn.random import Randomness
from seehear.nn.transformer import Size, cut, grid, keep_set, num_kept, take
from tests.reference import vatt as slow

CPU = torch.device("cpu")


def draws(rows, step=0):
    return Randomness(0, step, 0, rows, rows)


SIZE = Size(layers=1, width=6, hidden=6, heads=1)


def patch_tokens(**options):
    """Of spectrograms of 4 frames and 6 bands, in patches of 2 x 2."""
    torch.manual_seed(0)
    mel = MelConfig(window=0.1, hop=0.1, bands=6)
    sound = {"sound": "spectrogram", "rate": 100, "samples": 40, "mel": mel, "mel_patch": (2, 2)}
    config = VATTConfig(audio=SIZE, keep={"audio": 0.5}, dropout=0.0, **sound, **options)
    return PatchTokens(config, "audio").double()


def word_tokens(**options):
    torch.manual_seed(0)
    config = VATTConfig(vocabulary=9, word_width=4, text=SIZE, shared=SIZE, dropout=0.0, **options)
    return WordTokens(config).double()


# -- patches ----------------------------------------------------------------------------------------------------------


def test_counts_of_the_sheet():
    assert grid((32, 224, 224), (4, 16, 16)) == (8, 14, 14)
    assert grid((32, 320, 320), (4, 16, 16)) == (8, 20, 20)
    assert len(Positions(grid((32, 320, 320), (4, 16, 16)), 2, norm=False).table) == 48
    assert grid((4, 384, 384), (4, 16, 16)) == (1, 24, 24)  # a still repeated four times
    assert grid((153_600,), (128,)) == (1200,)
    assert grid((150, 80), (16, 5)) == (9, 16)


def test_patches_are_those_of_loops_and_of_a_convolution():
    x = torch.randn(2, 5, 6, 7, 3, generator=torch.Generator().manual_seed(0))
    found = cut(x, (2, 3, 2))
    assert found.shape == (2, 2 * 2 * 3, 2 * 3 * 2 * 3)
    for b in range(2):
        np.testing.assert_array_equal(found[b].numpy(), slow.patches(x[b].numpy(), (2, 3, 2)))
    weight = torch.randn(4, 3, 2, 3, 2, generator=torch.Generator().manual_seed(1))
    conv = torch.nn.functional.conv3d(x.permute(0, 4, 1, 2, 3), weight, stride=(2, 3, 2))
    linear = found @ weight.permute(0, 2, 3, 4, 1).flatten(1).T
    torch.testing.assert_close(linear, conv.flatten(2).transpose(1, 2))


def test_bytes_become_numbers_from_minus_one_to_one():
    model, byte = patch_tokens(), torch.tensor([0, 255], dtype=torch.uint8)[torch.arange(24) % 2].view(1, 4, 6, 1)
    scaled = byte.double() * 2 / 255 - 1
    torch.testing.assert_close(model(byte, rng=None, name="audio"), model(scaled, rng=None, name="audio"))


# -- positions --------------------------------------------------------------------------------------------------------


def test_resampling_of_the_sheet():
    table = torch.tensor([0, 1, 0, 2.0], dtype=torch.float64)[:, None]
    expected = {
        6: [0, 0.938272, 0.661728, 0, 1.056790, 2.977778],
        4: [0, 1, 0, 2],
        8: [0, 0.775, 1, 0.425, 0, 0.65, 2, 3.466667],
    }
    for count, values in expected.items():
        assert resampled(table, count)[:, 0].tolist() == pytest.approx(values, abs=5e-7)


@pytest.mark.parametrize(("old", "new"), [(2, 5), (3, 4), (8, 12), (14, 20), (14, 7), (40, 33), (1200, 600)])
def test_resampling_is_the_natural_spline(old, new):
    values = torch.randn(old, generator=torch.Generator().manual_seed(old), dtype=torch.float64)
    found = resampling(old, new) @ values
    np.testing.assert_allclose(
        found.numpy(), slow.natural_spline(values.tolist(), new), atol=1e-4 if old > 99 else 1e-9
    )


def test_one_place_stays_what_it_is_everywhere():
    assert resampled(torch.tensor([[2.0, 3.0]]), 3).tolist() == [[2.0, 3.0]] * 3


def test_positions_are_sums_of_one_table_an_axis():
    torch.manual_seed(0)
    positions = Positions((8, 14, 14), 16, norm=False)
    assert positions.table.shape == (36, 16)
    assert positions.table.abs().max() <= 2 * 16**-0.5
    t, h, w = positions.table.split((8, 14, 14))
    place = positions((8, 14, 14))
    for n in (0, 13, 14, 195, 196, 1000, 1567):
        torch.testing.assert_close(place[n], t[n // 196] + h[n % 196 // 14] + w[n % 14])
    other = positions((8, 20, 20))
    assert other.shape == (3200, 16)
    torch.testing.assert_close(other[0], place[0])
    normed = Positions((3, 4), 16, norm=True)((3, 4))
    torch.testing.assert_close(normed.std(dim=1, unbiased=False), torch.ones(12), rtol=1e-3, atol=0)


# -- DropToken --------------------------------------------------------------------------------------------------------


def test_counts_of_kept_tokens():
    kept = {(1568, 0.5): 784, (1200, 0.5): 600, (1568, 0.25): 392, (1200, 0.25): 300, (1568, 0.75): 1176, (3, 0.1): 1}
    assert {key: num_kept(*key) for key in kept} == kept


def test_a_shared_keep_set_is_one_for_all_and_another_each_step():
    options = {"rate": 0.5, "per_sample": False, "device": CPU}
    first = keep_set(draws(6), "video", 1568, **options)
    assert len(first.unique()) == 784
    assert torch.equal(first, keep_set(draws(6).narrow(2, 4), "video", 1568, **options))
    assert not torch.equal(first, keep_set(draws(6, step=1), "video", 1568, **options))
    assert not torch.equal(first, keep_set(draws(6), "audio", 1568, **options))
    assert keep_set(None, "video", 1568, **options) is None
    assert keep_set(draws(6), "video", 1568, **(options | {"rate": 1.0})) is None


def test_keep_sets_of_each_sample_follow_its_place_in_the_batch():
    options = {"rate": 0.5, "per_sample": True, "device": CPU}
    whole = keep_set(draws(6), "video", 20, **options)
    assert whole.shape == (6, 10)
    assert all(len(row.unique()) == 10 for row in whole)
    assert len({tuple(row.tolist()) for row in whole}) == 6
    assert torch.equal(keep_set(draws(6).narrow(2, 4), "video", 20, **options), whole[2:4])


@pytest.mark.parametrize("per_sample", [False, True])
def test_kept_tokens_are_the_same_as_among_all(per_sample):
    model = patch_tokens(keep_per_sample=per_sample)
    x = torch.randn(3, 4, 6, 1, dtype=torch.float64)
    whole, part = model(x, rng=None, name="audio"), model(x, rng=draws(3), name="audio")
    assert (whole.shape, part.shape) == ((3, 7, 6), (3, 4, 6))
    keep = keep_set(draws(3), "audio/keep", 6, rate=0.5, per_sample=per_sample, device=CPU)
    torch.testing.assert_close(part[:, 1:], take(whole[:, 1:], keep))
    assert torch.equal(part[:, 0], model.aggregate.expand(3, -1))  # AGG is always kept, and has no position
    assert model.positions((2, 3)).shape == (6, 6)


def test_only_kept_patches_are_projected():
    model, seen = patch_tokens(), []
    model.project.register_forward_hook(lambda module, given, out: seen.append(given[0].shape))
    model(torch.zeros(3, 4, 6, 1), rng=draws(3), name="audio")
    assert seen == [(3, 3, 4)]


def test_another_grid_is_read_and_a_wrong_one_refused():
    model = patch_tokens()
    assert model(torch.zeros(2, 8, 5, 1), rng=None, name="audio").shape == (2, 1 + 4 * 2, 6)
    with pytest.raises(SeehearError, match="video of a clip is 4 x 6 x 3, this model reads 2 axes and 1 channels"):
        model(torch.zeros(2, 4, 6, 3), rng=None, name="video")
    with pytest.raises(SeehearError, match="is 1 x 6, a patch alone 2 x 2: take longer"):
        model(torch.zeros(2, 1, 6, 1), rng=None, name="video")


# -- words ------------------------------------------------------------------------------------------------------------


def test_words_carry_a_token_in_front_and_mask_their_padding():
    model, ids = word_tokens(), torch.tensor([[3, 1, 0], [0, 0, 0]])
    x, mask = model(ids, rng=None, name="text")
    assert mask.tolist() == [[True, True, True, False], [True, False, False, False]]
    raw = torch.stack([model.aggregate, *model.table.weight[ids[0]]])
    torch.testing.assert_close(x[0], torch.nn.functional.gelu(raw @ model.project.weight.T))
    assert model.project.bias is None
    assert not model.table.weight.requires_grad
    assert word_tokens(train_words=True).table.weight.requires_grad


def test_words_with_places_of_their_own():
    model, ids = word_tokens(variant="agnostic", words=5), torch.tensor([[3, 1, 0]])
    x, mask = model(ids, rng=None, name="text")
    assert x.shape == (1, 6, 6)
    assert mask.tolist() == [[True, True, True, False, False, False]]
    word = torch.nn.functional.gelu(model.project(model.table.weight[3]))
    torch.testing.assert_close(x[0, 1], word + model.positions((5,))[0])
    assert torch.equal(x[0, 0], model.aggregate)
    with pytest.raises(SeehearError, match="room for 7 words, this model reads 5"):
        model(torch.ones(1, 7, dtype=torch.long), rng=None, name="text")


def test_words_of_another_vocabulary_are_refused():
    model = word_tokens()
    for ids, wrong in ([[9]], "9"), ([[-1]], "-1"):
        with pytest.raises(SeehearError, match=f"word number {wrong} is not among the 9 of this model"):
            model(torch.tensor(ids), rng=None, name="text")
    with pytest.raises(SeehearError, match="has 8 words of width 4, this model was made for 9 words of width 4"):
        model.load(torch.zeros(8, 4))
    model.load(torch.ones(9, 4))
    assert torch.equal(model.table.weight, torch.ones(9, 4).double())


# -- spectrogram ------------------------------------------------------------------------------------------------------


def test_the_spectrogram_is_that_of_loops():
    config = MelConfig(window=0.06, hop=0.025, bands=5, low=20.0, high=140.0)
    sound = torch.randn(2, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = LogMel(config, rate=400).double()(sound)
    assert found.shape == (2, config.frames(100, 400), 5) == (2, 10, 5)
    for row, wave in zip(found, sound.tolist(), strict=True):
        expected = slow.log_mel(wave, rate=400, size=24, hop=10, bands=5, low=20.0, high=140.0)
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-5)  # filters are kept in fp32


def test_sizes_of_the_sheet_and_silence():
    config = MelConfig()
    assert (config.sizes(48_000), config.frames(153_600, 48_000)) == ((2048, 1024), 150)
    model = LogMel(MelConfig(bands=8, high=3000.0), rate=8000)
    assert torch.equal(model(torch.zeros(1, 4000)), torch.zeros(1, model(torch.zeros(1, 4000)).shape[1], 8))
    tone = torch.sin(torch.arange(4000) * 0.5)[None]
    found = model(tone)
    assert (found.min(), found.max()) == (0.0, 1.0)
