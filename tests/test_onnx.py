"""Spaces as ONNX graphs: in onnxruntime they give what torch gives."""

import json

import numpy as np
import pytest
import torch

from seehear import SharedSpace
from seehear.cli import main
from seehear.encoders.base import Sample
from seehear.encoders.registry import load_encoder
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.space.model import SpaceModel
from seehear.space.onnx import export_onnx
from seehear.train.files import save_model
from tests import methods_under_test as under_test
from tests.clips import BANDS, WIDTH
from tests.small_media import copy_photos, write_sound

pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")
WIDTHS = {"video": 5, "audio": 4}


def run(path, **inputs):
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def close(graph, torch_says, within=1e-5):
    assert np.abs(graph - torch_says).max() < within * np.abs(torch_says).max()


def test_the_head_of_a_fused_space(tmp_path, capsys):
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = FuseMix(FuseMixConfig(widths=WIDTHS, dim=6, depth=1))
    method.fit({m: 3 * torch.randn(20, width, generator=generator) + 1 for m, width in WIDTHS.items()})
    encoders = {"video": [{"name": "resnet152", "fingerprint": "f", "width": 5}]}  # one export takes a second
    save_model(tmp_path / "model", method, {"encoders": encoders})
    out = tmp_path / "onnx"
    assert main(["export", str(tmp_path / "model"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{out / 'video.head.onnx'}: latents -> embeddings" in printed
    assert "not exported: resnet152: latents of 'resnet152' are imported features" in printed
    about = json.loads((out / "model.json").read_text(encoding="utf-8"))
    assert [graph["file"] for graph in about["graphs"]] == ["video.head.onnx"]
    assert about["graphs"][0]["inputs"] == {"latents": ["batch", 5]}
    space = SharedSpace.from_pretrained(tmp_path / "model", device="cpu")
    for count in (1, 7):
        latents = torch.randn(count, 5, generator=generator).numpy()
        close(run(out / "video.head.onnx", latents=latents), space.encode_latents({"video": latents})["video"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "widths"),
    [
        (under_test.mcn_of_clips, {"video": WIDTH, "audio": BANDS, "text": WIDTH}),
        (under_test.vatt, dict.fromkeys(("video", "audio", "text"), 16)),
        (under_test.mavil, dict.fromkeys(("video", "audio"), 16)),
    ],
)
def test_the_heads_of_every_family(method, widths, tmp_path):
    encoders = {m: [{"name": "resnet152", "fingerprint": "f", "width": width}] for m, width in widths.items()}
    space = SpaceModel(method(), encoders, device="cpu")
    export_onnx(space, tmp_path)
    for m, latents in {m: torch.rand(5, width).numpy() for m, width in widths.items() if m in space.encoders}.items():
        close(run(tmp_path / f"{m}.head.onnx", latents=latents), space.encode_latents({m: latents})[m])


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A photo, and sounds of two lengths."""
    folder = tmp_path_factory.mktemp("media")
    copy_photos(folder, "coffee")
    generator = np.random.default_rng(0)
    for name, seconds in (("short", 2.5), ("long", 7.3)):
        write_sound(folder / f"{name}.ogg", 0.1 * generator.standard_normal(int(seconds * 16_000)).astype(np.float32))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "wordtower"])
def test_words_in_a_graph(name, tmp_path):
    space = SharedSpace.from_pretrained(f"frozen:{name}", device="cpu")
    about = space.export_onnx(tmp_path)
    assert about["not_exported"] == {}
    assert {graph["file"].partition(".")[0] for graph in about["graphs"]} == set(space.encoders)
    texts = ["a dog", "how the last train leaves the station on a rainy night", "x"]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_padding()
    tokens = tokenizer.encode_batch(texts)
    ids, mask = (np.array([getattr(t, part) for t in tokens]) for part in ("ids", "attention_mask"))
    latents = run(tmp_path / "text.minilm.onnx", input_ids=ids, attention_mask=mask)
    minilm = load_encoder("minilm", device="cpu")
    close(latents, minilm.encode(texts))
    if name == "wordtower":
        tower = load_encoder(name, modality="text", device="cpu")
        stored = minilm.encode(texts).astype(np.float16).astype(np.float32)
        mapped = run(tmp_path / "text.wordtower-modality-text.onnx", source=stored)
        close(mapped, tower.derive(stored))
        pictures = torch.rand(5, 1280, generator=torch.Generator().manual_seed(0)).numpy()
        seen = load_encoder(name, modality="video", device="cpu").derive(pictures)
        close(run(tmp_path / "video.wordtower-modality-video.onnx", source=pictures), seen)
        latents = run(
            tmp_path / "text.wordtower-modality-text.onnx", source=latents.astype(np.float16).astype(np.float32)
        )
    embeddings = run(tmp_path / "text.head.onnx", latents=latents.astype(np.float16).astype(np.float32))
    assert np.sum(embeddings * space.encode(texts), axis=1).min() > 0.99999


@pytest.mark.slow
def test_pictures_and_films_in_a_graph(media, tmp_path):
    encoder = load_encoder("efficientnet-lite0", device="cpu")
    SharedSpace.from_pretrained("frozen:efficientnet-lite0", device="cpu").export_onnx(tmp_path)
    shapes = [(1, 1, 139, 183), (3, 4, 33, 64), (2, 2, 160, 160)]
    for batch, frames, tall, wide in shapes:
        generator = np.random.default_rng(frames)
        films = generator.integers(0, 255, (batch, frames, tall, wide, 3), dtype=np.uint8)
        close(run(tmp_path / "video.efficientnet-lite0.onnx", frames=films), encoder.encode(list(films)))
    photo = encoder.prepare(Sample(path=str(media / "coffee.jpg")))
    latents = run(tmp_path / "video.efficientnet-lite0.onnx", frames=photo[None])
    close(latents, encoder.encode([photo]))


@pytest.mark.slow
def test_sounds_in_a_graph(media, tmp_path):
    encoder = load_encoder("aisfx", device="cpu")
    encoder.network.fast = False
    SharedSpace.from_pretrained("frozen:aisfx", device="cpu").export_onnx(tmp_path)
    for name in ("short", "long"):
        sound = encoder.prepare(Sample(path=str(media / f"{name}.ogg"), end=60.0))
        batch = np.stack([sound, sound[::-1]])
        close(run(tmp_path / "audio.aisfx.onnx", waveform=batch), encoder.encode(list(batch)))
