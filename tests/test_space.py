import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import seehear
from seehear.encoders import registry
from seehear.encoders.base import Encoder
from seehear.errors import DecodeError, SeehearError
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.space import (
    SharedSpace,
    saved,  # noqa: F401  # imported when it is first used: it would keep the encoders that these tests put in place
)
from seehear.train.files import save_model

WIDTHS = {"video": 6, "audio": 5, "text": 7}


class Letters(Encoder):
    """Counts letters of the text or path, and knows the window: what an encoder is, without a model."""

    loaded = 0

    def __init__(self, name, modality, width, fingerprint):
        self.name, self.modality, self.width, self.fingerprint = name, modality, width, fingerprint
        Letters.loaded += 1

    def prepare(self, sample):
        if sample.path.endswith("gone.mp4"):
            raise DecodeError("gone.mp4: cannot be read")
        return [sample.text + sample.path, sample.start, sample.end]

    def encode(self, prepared):
        rows = [[s.count(chr(97 + i)) + 0.1 * a - 0.01 * b for i in range(self.width)] for s, a, b in prepared]
        return np.array(rows, np.float32)


@pytest.fixture(autouse=True)
def encoders(monkeypatch):
    Letters.loaded = 0
    made = {}

    def load(name, *, modality=None, device="auto"):
        part, width = name.split("-")
        return Letters(name, part, int(width), made.get(name, f"print-{name}"))

    monkeypatch.setattr(registry, "load_encoder", load)
    return made


def infos():
    """Text has two encoders, side by side."""
    names = {"video": ["video-6"], "audio": ["audio-5"], "text": ["text-4", "text-3"]}
    return {m: [{"name": n, "fingerprint": f"print-{n}", "width": int(n[-1])} for n in own] for m, own in names.items()}


def method(seed=0):
    torch.manual_seed(seed)
    model = FuseMix(FuseMixConfig(widths=WIDTHS, dim=16, depth=1))
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return model


@pytest.fixture
def run(tmp_path):
    save_model(tmp_path / "run" / "model", method(), {"encoders": infos()})
    return tmp_path / "run"


@pytest.fixture
def space(run):
    return SharedSpace.from_pretrained(run, device="cpu")


def norms(x):
    return np.linalg.norm(x, axis=1)


def test_a_run_folder_and_its_model_folder_are_the_same(run, space):
    inner = SharedSpace.from_pretrained(run / "model", device="cpu")
    np.testing.assert_array_equal(space.encode(["a dog"]), inner.encode(["a dog"]))
    assert space.fingerprint == inner.fingerprint
    assert (space.modalities, space.dim) == (("video", "image", "audio", "text"), 16)
    assert repr(space) == "SharedSpace(fusemix, video, image, audio, text, dim 16)"


def test_vectors_are_unit_float32_and_of_any_modality(space):
    items = ["a dog", {"text": "a dog"}, {"audio": "bark.wav", "start": 1, "end": 2}, {"image": "dog.png"}]
    vectors = space.encode(items)
    assert (vectors.shape, vectors.dtype) == ((4, 16), np.float32)
    np.testing.assert_allclose(norms(vectors), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(space.encode("a dog"), vectors[0])
    assert space.encode([]).shape == (0, 16)


def test_a_vector_does_not_depend_on_its_company(space):
    """To the last bit: alone, in any batch, at any place."""
    texts = ["".join(np.random.default_rng(i).choice(list("abcdefg "), 30)) for i in range(50)]
    together = space.encode(texts)
    for size in (1, 7, 50):
        np.testing.assert_array_equal(space.encode(texts, batch_size=size), together)
    np.testing.assert_array_equal(space.encode(texts[::-1]), together[::-1])
    np.testing.assert_array_equal(space.encode([texts[33]])[0], together[33])


def test_texts_of_like_length_go_through_the_encoder_together(space, monkeypatch):
    """Or short ones would be padded to the length of a long one."""
    batches = []
    encode = Letters.encode
    monkeypatch.setattr(Letters, "encode", lambda self, x: batches.append([len(t) for t, *_ in x]) or encode(self, x))
    texts = ["a" * n for n in (9, 1, 8, 2, 7, 3)]
    vectors = space.encode(texts, batch_size=2)
    assert {tuple(sorted(lengths)) for lengths in batches} == {(1, 2), (3, 7), (8, 9)}
    np.testing.assert_array_equal(vectors, [space.encode(text) for text in texts])


def test_several_modalities_are_the_mean_of_unit_vectors(space):
    window = {"start": 0.5, "end": 2.0}
    both = space.encode([{"video": "a.mp4", "audio": "b.wav", **window}])[0]
    one, other = space.encode([{"video": "a.mp4", **window}, {"audio": "b.wav", **window}])
    expected = (one + other) / np.linalg.norm(one + other)
    np.testing.assert_allclose(both, expected, atol=1e-6)


def test_windows_reach_the_encoder_and_default_to_the_whole_file(space, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr("seehear.media.files.probe", lambda path: SimpleNamespace(duration=4.0))
    whole, said, part = space.encode(
        [{"video": "a.mp4"}, {"video": "a.mp4", "start": 0, "end": 4.0}, {"video": "a.mp4", "start": 1.0}]
    )
    np.testing.assert_array_equal(whole, said)
    assert not np.array_equal(whole, part)


def test_equal_to_the_method_on_stored_latents(space):
    """Encoders side by side in their order; latents rounded as the library stores them."""
    text = "abc bed cafe"
    stored = [[text.count(c) for c in "abcd"] + [text.count(c) for c in "abc"]]
    latents = np.array(stored, np.float32).astype(np.float16).astype(np.float32)
    expected = method().eval().embed({"text": torch.from_numpy(latents)})["text"].detach().numpy()
    np.testing.assert_allclose(space.encode([text]), expected, atol=1e-6)
    np.testing.assert_allclose(space.encode_latents({"text": latents})["text"], expected, atol=1e-6)


def test_similarity_is_cosine():
    a, b = np.array([[3.0, 4.0]]), np.array([[0.0, 2.0], [4.0, 3.0]])
    np.testing.assert_allclose(SharedSpace.similarity(a, b), [[0.8, 0.96]], atol=1e-6)
    np.testing.assert_allclose(SharedSpace.similarity(a[0], torch.tensor(b)), [[0.8, 0.96]], atol=1e-6)


def test_supports(tmp_path):
    own = infos()
    del own["audio"]
    space = SharedSpace(method(), own, device="cpu")
    assert space.supports("text->video")
    assert space.supports("text -> image")
    assert not space.supports("text->audio")
    assert not space.supports("audio+text->video")
    with pytest.raises(SeehearError, match="unknown modality 'smell'"):
        space.supports("smell->video")
    assert space.supports("text")
    assert space.supports("image")
    assert space.supports(("image", "text"))
    assert not space.supports("audio")
    assert not space.supports(("audio", "text"))
    with pytest.raises(SeehearError, match=r"item 1: this space has no audio \(it has video, text\)"):
        space.encode(["a", {"audio": "b.wav", "end": 1.0}])
    with pytest.raises(SeehearError, match=r"^this space has no audio"):  # a query has no number
        space.encode([{"audio": "b.wav", "end": 1.0}])


def test_saved_and_loaded_again_it_is_the_same(space, tmp_path):
    space.save_pretrained(tmp_path / "copy")
    again = SharedSpace.from_pretrained(tmp_path / "copy", device="cpu")
    assert again.fingerprint == space.fingerprint
    np.testing.assert_array_equal(again.encode(["a cab"]), space.encode(["a cab"]))
    other = SharedSpace(method(seed=1), infos(), device="cpu")
    assert other.fingerprint != space.fingerprint


def test_encoders_are_loaded_when_they_are_needed(space):
    assert space.supports("text->video")
    assert space.dim == 16
    assert Letters.loaded == 0
    space.encode(["a"])
    space.encode(["b"])
    assert Letters.loaded == 2  # the two of text


def test_another_version_of_an_encoder_is_refused(space, encoders):
    encoders["text-3"] = "print-new"
    with pytest.raises(
        SeehearError, match=r"'text-3' is not the one this model was trained on \(fingerprint print-new"
    ):
        space.encode(["a"])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"vidoe": "a.mp4"}, "did you mean 'video'"),
        ({}, "the item is empty"),
        ({"start": 1.0}, "the item is empty"),
        ({"video": "a.mp4", "image": "b.png", "end": 1.0}, "both an image and a video"),
        ({"video": "gone.mp4", "end": 1.0}, "gone.mp4"),
    ],
)
def test_bad_items_are_told(space, item, message):
    with pytest.raises(SeehearError, match=message):
        space.encode([item])


def test_folders_without_a_whole_model_are_told(run, tmp_path):
    with pytest.raises(SeehearError, match="no trained model in"):
        SharedSpace.from_pretrained(tmp_path / "nowhere")
    config = run / "model" / "config.json"
    good = json.loads(config.read_text())
    config.write_text(json.dumps({**good, "method": "fusemax"}))
    with pytest.raises(SeehearError, match="did you mean 'fusemix'"):
        SharedSpace.from_pretrained(run)
    config.write_text(json.dumps({"method": "fusemix"}))
    with pytest.raises(SeehearError, match="lacks config, encoders"):
        SharedSpace.from_pretrained(run)
    config.write_text(json.dumps({**good, "config": {**good["config"], "dim": 32}}))
    with pytest.raises(SeehearError, match=r"does not fit its config\.json"):
        SharedSpace.from_pretrained(run)
    config.write_text("{")
    with pytest.raises(SeehearError, match="is not JSON"):
        SharedSpace.from_pretrained(run)


def test_weights_that_are_no_safetensors_are_told_and_never_unpickled(run):
    torch.save({"x": torch.zeros(1)}, run / "model" / "model.safetensors")
    with pytest.raises(SeehearError, match="cannot be read"):
        SharedSpace.from_pretrained(run)


def test_a_space_of_several_is_chosen_by_name(run):
    assert SharedSpace.from_pretrained(run, space="joint", device="cpu").space == "joint"
    with pytest.raises(SeehearError, match="did you mean 'joint'"):
        SharedSpace.from_pretrained(run, space="join")


def test_importing_the_package_costs_nothing():
    subprocess.run([sys.executable, "-c", "import sys, seehear; assert 'torch' not in sys.modules"], check=True)
    assert seehear.SharedSpace is SharedSpace
    assert {"SharedSpace", "Library", "__version__"} <= set(dir(seehear))
    assert seehear.__version__
    with pytest.raises(AttributeError, match="no attribute 'smell'"):
        seehear.smell  # noqa: B018


def test_a_library_that_is_not_there_is_no_unknown_encoder():
    with pytest.raises(SeehearError, match="no library at seehear-demo/library, and unknown encoder"):
        SharedSpace.from_pretrained("frozen:seehear-demo/library")
