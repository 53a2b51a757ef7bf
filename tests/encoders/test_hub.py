"""Every family of transformers models: widths, determinism, independence of the batch, transformers' own numbers."""

import io
import json
import pickle
import shutil
import sys
from functools import cache, partial

import numpy as np
import pytest
import torch
from PIL import Image

from seehear.encoders import Sample, load_encoder
from seehear.encoders.hub_language import PeFilms, PeText
from seehear.encoders.hub_towers import HubOptions
from seehear.errors import SeehearError
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.space import SharedSpace
from seehear.train.files import save_model
from tests.encoders.tiny import pe_video
from tests.faults.outcome import Command
from tests.library.makers import film, sound

WIDTHS = {
    ("clip", "video"): 24,
    ("clip", "text"): 24,
    ("siglip", "video"): 32,
    ("siglip", "text"): 32,
    ("siglip2", "video"): 32,
    ("siglip2", "text"): 32,
    ("dinov2", "video"): 32,
    ("dinov3", "video"): 32,
    ("vit", "video"): 32,
    ("videomae", "video"): 32,
    ("vivit", "video"): 32,
    ("vjepa2", "video"): 32,
    ("clap", "audio"): 24,
    ("clap", "text"): 24,
    ("ast", "audio"): 32,
    ("whisper", "audio"): 32,
    ("wav2vec2", "audio"): 32,
    ("hubert", "audio"): 32,
    ("bert", "text"): 32,
    ("t5", "text"): 32,
    ("pe_audio", "audio"): 32,
    ("pe_audio", "text"): 32,
    ("qwen3_vl", "video"): 32,
    ("qwen3_vl", "text"): 32,
    ("embedding_gemma2", "video"): 24,
    ("embedding_gemma2", "audio"): 24,
    ("embedding_gemma2", "text"): 24,
}
TWINS = ("dinov3", "hubert")
"""Families that go through the code of another one."""
CASES = pytest.mark.parametrize(
    ("family", "modality"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] in TWINS)) for case in WIDTHS],
    ids=lambda v: v,
)
DEAR = ("pe_audio", "qwen3_vl", "embedding_gemma2")
CHEAP_CASES = pytest.mark.parametrize(
    ("family", "modality"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] in DEAR + TWINS)) for case in WIDTHS],
    ids=lambda v: v,
)
TEXTS = ("a dog", "a dog barks loudly in the rain", "rain")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    root = tmp_path_factory.mktemp("media")
    path = str(film(root / "a.mp4", seconds=3.0, colours=True))
    picture = root / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(picture)
    video = [Sample(path, 0.0, 3.0), Sample(path, 1.0, 2.0), Sample(str(picture))]
    audio = [Sample(path, 0.0, 3.0), Sample(path, 1.0, 2.0), Sample(path, 1.0, 1.05)]
    return {"video": video, "audio": audio, "text": [Sample(text=text) for text in TEXTS]}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def load(folder, options="", **named):
    return load_encoder(f"hub:{folder}{options}", device="cpu", **named)


@cache
def loaded(folder, modality):
    """The tower without options, whose weights are read once for all tests."""
    return load(folder, modality=modality)


@CASES
def test_width_determinism_and_rows_that_do_not_depend_on_the_batch(family, modality, models, samples):
    encoder = loaded(models[family], modality)
    prepare = pickle.loads(pickle.dumps(encoder.preparation()))
    prepared = [prepare(sample) for sample in samples[modality]]
    together = encoder.encode(prepared)
    assert together.shape == (3, encoder.width)
    assert encoder.width == WIDTHS[family, modality]
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    alone = np.concatenate([encoder.encode([one]) for one in prepared])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    again = load(models[family], modality=modality)
    np.testing.assert_array_equal(again.encode(prepared), together)
    assert again.fingerprint == encoder.fingerprint
    assert np.abs(together - together[:1]).max() > 1e-3, "the vector ignores its input"


@pytest.mark.parametrize(("family", "by_frame"), [("clip", True), ("siglip2", True), ("videomae", False)])
def test_towers_that_take_frames_one_at_a_time_give_those_that_differ(family, by_frame, models, samples):
    encoder = loaded(models[family], "video")
    prepared = [encoder.prepare(sample) for sample in samples["video"]]
    film, _, picture = encoder.encode_parts(prepared)
    np.testing.assert_array_equal(encoder.encode([prepared[0]])[0], film.vector)
    assert (len(film.frames) > 1, len(picture.frames)) == (by_frame, 0)
    if by_frame and len(film.frames) == len(prepared[0]):
        np.testing.assert_allclose(np.mean(film.frames, axis=0), film.vector, atol=1e-5)
    assert all(frame.shape == (encoder.width,) for frame in film.frames)


@CHEAP_CASES
def test_layer_and_pool_change_vector_and_fingerprint(family, modality, models, samples):
    first = loaded(models[family], modality)
    pools = type(first).pools
    other = f"#pool={pools[-1]}" if len(pools) > 1 else ""
    layer = "" if family == "clap" else f"{',' if other else '#'}layer=-2"  # CLAP's last layer is all it offers
    changed = load(models[family], other + layer, modality=modality)
    changed._network = first.network
    prepared = [first.prepare(sample) for sample in samples[modality][:2]]
    a, b = first.encode(prepared), changed.encode(prepared)
    assert a.shape != b.shape or np.abs(a - b).max() > 1e-3
    assert changed.fingerprint != first.fingerprint
    assert changed.name != first.name


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_pictures_are_those_of_transformers(family, models, samples):
    """Resize, crop, normalisation, network and projection, against the library's own processor and model."""
    import transformers

    encoder = loaded(models[family], "video")
    picture = samples["video"][2]
    processor = {"clip": "CLIPImageProcessorPil", "siglip": "SiglipImageProcessorPil"}[family]
    processor = getattr(transformers, processor).from_pretrained(models[family])
    pixels = processor(Image.open(picture.path).convert("RGB"), return_tensors="pt")["pixel_values"]
    ours = encoder.settings.normalised(torch.from_numpy(encoder.prepare(picture)))
    np.testing.assert_allclose(ours.numpy(), pixels.numpy(), atol=1e-5)
    model = transformers.AutoModel.from_pretrained(models[family]).eval()
    with torch.no_grad():
        theirs = model.get_image_features(pixel_values=pixels)
    theirs = theirs if isinstance(theirs, torch.Tensor) else theirs.pooler_output
    np.testing.assert_allclose(encoder.encode([encoder.prepare(picture)]), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip", "clap"])
def test_texts_are_those_of_transformers(family, models):
    import transformers

    encoder = loaded(models[family], "text")
    tokenizer = transformers.AutoTokenizer.from_pretrained(models[family])
    full = {"padding": "max_length", "max_length": 16} if family == "siglip" else {"padding": True}
    inputs = tokenizer(list(TEXTS), return_tensors="pt", **full)
    mask = {} if family == "siglip" else {"attention_mask": inputs["attention_mask"]}
    model = transformers.AutoModel.from_pretrained(models[family]).eval()
    with torch.no_grad():
        theirs = model.get_text_features(input_ids=inputs["input_ids"], **mask)
    theirs = theirs if isinstance(theirs, torch.Tensor) else theirs.pooler_output
    ours = encoder.encode(list(TEXTS))
    if family == "clap":  # its get_text_features may give them at length one
        ours, theirs = ours / np.linalg.norm(ours, axis=1, keepdims=True), torch.nn.functional.normalize(theirs, dim=-1)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_sounds_are_those_of_transformers(models, samples):
    import transformers

    sample = samples["audio"][1]
    for family, feature in (("wav2vec2", "input_values"), ("ast", "input_values"), ("clap", "input_features")):
        encoder = loaded(models[family], "audio")
        extractor = transformers.AutoFeatureExtractor.from_pretrained(models[family])
        waveform = encoder.prepare(sample) if family == "wav2vec2" else _waveform(sample, extractor.sampling_rate)
        inputs = extractor(waveform, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        model = transformers.AutoModel.from_pretrained(models[family]).eval()
        with torch.no_grad():
            if family == "clap":
                theirs = model.get_audio_features(**inputs)
                theirs = theirs if isinstance(theirs, torch.Tensor) else theirs.pooler_output
            else:
                states = model(inputs[feature]).last_hidden_state
                theirs = states.mean(1) if family == "wav2vec2" else states[:, 0]
        ours = torch.from_numpy(encoder.encode([encoder.prepare(sample)]))
        if family == "clap":
            ours, theirs = (torch.nn.functional.normalize(v, dim=-1) for v in (ours, theirs))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-5, err_msg=family)


def _waveform(sample, rate):
    from seehear.encoders.base import ReadWaveform

    return ReadWaveform(rate=rate)(sample)


def test_long_sound_is_cut_into_equal_windows(models, tmp_path):
    """AST hears 1.28 s at a time: 3 s are three windows of one second."""
    path = str(sound(tmp_path / "a.wav", seconds=3.0, rate=16_000))
    encoder = load(models["ast"], "#time=segments:3")
    whole = encoder.encode([encoder.prepare(Sample(path, 0.0, 3.0))])[0].reshape(3, -1)
    parts = encoder.encode([encoder.prepare(Sample(path, n, n + 1.0)) for n in range(3)])
    np.testing.assert_allclose(whole, parts[:, :32], atol=1e-4)


def test_whisper_leaves_out_what_was_filled_in(models, samples):
    encoder = load(models["whisper"])
    (steps,) = encoder.steps(encoder.network, [encoder.prepare(samples["audio"][1])])
    assert len(steps) == 50  # one second of moments of 20 ms, of a window of two


def test_time_pooling_over_frames(models, samples):
    encoder = load(models["vit"], "#frames=4,time=segments:2")
    prepared = encoder.prepare(samples["video"][0])
    assert encoder.width == 64
    halves = encoder.encode([prepared])[0].reshape(2, 32)
    plain = load(models["vit"], "#frames=4")
    np.testing.assert_allclose(halves[0], plain.encode([prepared[:2]])[0], atol=1e-5)
    assert np.abs(halves[0] - halves[1]).max() > 1e-3


def test_film_moments_average_to_the_mean_of_all_tokens(models, samples):
    encoder = load(models["videomae"])
    prepared = encoder.prepare(samples["video"][0])
    (steps,) = encoder.steps(encoder.network, [prepared])
    assert steps.shape == (2, 32)
    pixels = encoder.settings.normalised(torch.from_numpy(prepared))[None]
    with torch.no_grad():
        states = encoder.network(pixel_values=pixels).last_hidden_state
    np.testing.assert_allclose(encoder.encode([prepared])[0], states.mean(1)[0].numpy(), atol=1e-5)


def test_prefix_is_put_before_the_text(models):
    plain, prefixed = load(models["bert"]), load(models["bert"], "#prefix=query:")
    assert prefixed.prepare(Sample(text="a  dog")) == "query: a dog"
    vector = prefixed.encode([prefixed.prepare(Sample(text="a dog"))])
    np.testing.assert_array_equal(vector, plain.encode(["query: a dog"]))


def test_captions_are_cleaned_before_the_prefix(models):
    plain, clean = load(models["bert"]), load(models["bert"], "#prefix=QUERY:,clean=captions")
    assert clean.prepare(Sample(text="A Dog!")) == "QUERY: a dog"
    assert clean.query_preparation()(Sample(text="A Dog!")) == "QUERY: a dog"
    unclean = load(models["bert"], "#prefix=QUERY:")
    assert len({plain.fingerprint, clean.fingerprint, unclean.fingerprint}) == 3
    assert (
        load(models["bert"], "#clean=captions,query=a:").fingerprint
        == load(models["bert"], "#clean=captions").fingerprint
    )


def test_pooling_of_sentence_transformers_is_read(models, tmp_path):
    folder = shutil.copytree(models["bert"], tmp_path / "bge")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    said, asked = load(folder), load(models["bert"], "#pool=cls")
    np.testing.assert_array_equal(said.encode(TEXTS), asked.encode(TEXTS))
    assert np.abs(said.encode(TEXTS) - load(models["bert"]).encode(TEXTS)).max() > 1e-3


def test_last_token_is_not_padding(models):
    encoder = load(models["bert"], "#pool=last")
    together = encoder.encode(["a dog", "a dog barks loudly in the rain"])
    np.testing.assert_allclose(encoder.encode(["a dog"])[0], together[0], atol=1e-5)


def test_perception_encoder_films_and_their_text(tmp_path):
    model = pe_video(tmp_path).eval()
    (tmp_path / "model.safetensors").touch()
    tower = PeFilms("hub:pe", tmp_path, model.config, HubOptions(frames=4))
    frames = np.random.default_rng(0).integers(0, 255, (4, 30, 30, 3), dtype=np.uint8)
    text = PeText("hub:pe", tmp_path, model.config, HubOptions())
    with torch.no_grad():
        (steps,) = tower.steps(model, [frames])
        pixels = tower.settings.normalised(torch.from_numpy(frames))[None]
        theirs = model.video_head(model.video_encoder(pixel_values_videos=pixels).pooler_output)
        words = text.steps(model, TEXTS)
    np.testing.assert_allclose(steps.numpy(), theirs.numpy(), atol=1e-6)
    assert steps.shape == (1, tower.width)
    assert [word.shape for word in words] == [(1, text.width)] * 3


# -- names and errors ----------------------------------------------------------------------------------------------


def test_joint_model_must_be_told_which_modality(models):
    with pytest.raises(SeehearError, match=r"encodes video and text.*#modality=video, #modality=text"):
        load(models["clip"])
    assert load(models["clip"], "#modality=text").modality == "text"
    assert load(models["clip"], modality="text").name.endswith("#modality=text")
    with pytest.raises(SeehearError, match="not audio"):
        load(models["clip"], modality="audio")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("#pol=cls", "did you mean 'pool'"),
        ("#pool=sum", "pool must be one of mean, cls, last"),
        ("#layer=-9", "there are 3"),
        ("#frames=4", "unknown option of text encoder"),
        ("#layer=x", "layer must be int"),
        ("#clean=all", "clean must be captions"),
        ("#pool", "key=value"),
    ],
)
def test_wrong_options_are_named(models, options, message):
    with pytest.raises(SeehearError, match=message):
        load(models["bert"], options)


def test_what_is_no_model_is_one_line(models, tmp_path):
    for name, message in {
        "hub:": "needs a folder",
        f"hub:{tmp_path}": r"no config\.json",
        "hub:/no/where/at all": "no such folder",
        "hub:nobody/nothing-of-the-kind": "no folder here",
    }.items():
        with pytest.raises(SeehearError, match=message) as caught:
            load_encoder(name)
        assert "\n" not in str(caught.value)
    folder = shutil.copytree(models["vit"], tmp_path / "vit")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(SeehearError, match=r"preprocessor_config\.json"):
        load(folder)


def test_missing_weights_are_refused_not_made_up(models, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(models["vit"], tmp_path / "vit")
    state = load_file(folder / "model.safetensors")
    state.pop(next(name for name in state if "query" in name))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SeehearError, match=r"1 of the weights are missing, .*attention"):
        load(folder).encode([np.zeros((1, 30, 30, 3), np.uint8)])


def test_fingerprint_is_of_the_content(models, tmp_path):
    folder = shutil.copytree(models["vit"], tmp_path / "elsewhere")
    assert load(folder).fingerprint == load(models["vit"]).fingerprint
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    assert load(folder).fingerprint != load(models["vit"]).fingerprint


@pytest.mark.slow
def test_nothing_imports_torchvision(models, samples):
    """It dies on import beside a CPU build of torch; transformers must not be led to it. (Slow: a new process, and one
    that can only fail where torchvision is installed.)"""
    done = Command(partial(encode_in_a_new_process, models["clip"], samples["video"][0].path)).ended()
    assert done.status == 0, done.err


def encode_in_a_new_process(model, path):
    encoder = load_encoder(f"hub:{model}", modality="video", device="cpu")
    encoder.encode([encoder.prepare(Sample(path, 0.0, 1.0))])
    return int("torchvision" in sys.modules)


def _with_custom_code(source, folder, name, settings):
    """A copy of a model folder where one file names custom modules; each would write the marker file returned."""
    marker = folder.parent / f"{folder.name} ran"
    shutil.copytree(source, folder)
    (folder / "custom.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    classes = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor", "AutoFeatureExtractor")
    auto_map = {kind: "custom.Custom" for kind in classes} | {"AutoTokenizer": ["custom.Custom", None]}
    path = folder / f"{name}.json"
    given = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(given | settings | {"auto_map": auto_map}))
    return marker


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("config", {"model_type": "custom"}),
        ("config", {"architectures": ["CustomBertModel"]}),  # as jina-bert, whose model_type is "bert"
        ("tokenizer_config", {"tokenizer_class": "Custom"}),
        ("preprocessor_config", {"image_processor_type": "Custom"}),
        ("preprocessor_config", {"feature_extractor_type": "Custom"}),
        ("processor_config", {"processor_class": "Custom"}),
    ],
)
def test_custom_code_is_refused_not_asked_about(models, tmp_path, monkeypatch, name, settings):
    """Standard input says yes to whatever is asked."""
    folder = tmp_path / "bert"
    marker = _with_custom_code(models["bert"], folder, name, settings)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    with pytest.raises(SeehearError, match=r"custom code.*choose a model") as caught:
        load(folder).encode(list(TEXTS))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["config", "tokenizer_config", "preprocessor_config", "processor_config"])
@pytest.mark.parametrize("family", [pytest.param("bert", marks=pytest.mark.slow), "clip"])
def test_a_left_over_auto_map_is_passed_over_where_transformers_has_the_class(
    models, samples, tmp_path, monkeypatch, family, name
):
    folder, modality = tmp_path / family, "text" if family == "bert" else "video"
    marker = _with_custom_code(models[family], folder, name, {})
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    encoder, expected = load(folder, modality=modality), loaded(models[family], modality)
    prepared = [expected.prepare(sample) for sample in samples[modality][:2]]
    np.testing.assert_array_equal(encoder.encode(prepared), expected.encode(prepared))
    np.testing.assert_array_equal(encoder.prepare(samples[modality][0]), prepared[0])
    assert not marker.exists()


def test_a_run_that_names_a_folder_with_custom_code_is_refused(models, tmp_path, monkeypatch):
    """A run of somebody else's, whose config.json names its encoder by a folder."""
    folder = tmp_path / "bert"
    marker = _with_custom_code(models["bert"], folder, "config", {"model_type": "custom"})
    method = FuseMix(FuseMixConfig(widths={"text": 32, "video": 8}, dim=4, depth=1))
    info = {"name": f"hub:{folder}", "fingerprint": "0" * 16, "width": 32}
    eyes = {"name": "eyes", "fingerprint": "1" * 16, "width": 8}
    save_model(tmp_path / "run" / "model", method, {"encoders": {"text": [info], "video": [eyes]}})
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    with pytest.raises(SeehearError, match=r"custom code.*choose a model") as caught:
        SharedSpace.from_pretrained(tmp_path / "run", device="cpu").encode(["a dog"])
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("packaged", [True, False])
def test_a_run_says_which_encoders_it_loads_unless_they_are_packaged(tmp_path, capsys, packaged):
    names = {"text": "minilm" if packaged else "hub:some/model", "video": "efficientnet-lite0"}
    encoders = {m: [{"name": name, "fingerprint": "0" * 16, "width": 8}] for m, name in names.items()}
    method = FuseMix(FuseMixConfig(widths=dict.fromkeys(names, 8), dim=4, depth=1))
    save_model(tmp_path / "run" / "model", method, {"encoders": encoders})
    SharedSpace.from_pretrained(tmp_path / "run", device="cpu")
    line = f"{tmp_path / 'run'} uses models that are not part of seehear: hub:some/model\n"
    assert capsys.readouterr().err == ("" if packaged else line)
