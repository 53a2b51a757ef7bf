"""The word tower: names are near their classes, both sides agree with the formulas, and a library's latents suffice."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seehear.encoders import Sample, load_encoder, load_towers
from seehear.encoders import wordtower as module
from seehear.encoders.minilm import MiniLM, TextOptions
from seehear.encoders.wordtower import WIDTH, WordMap
from seehear.errors import SeehearError
from seehear.inputs.latents import load_latents
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from tests.library.makers import film


@pytest.fixture(scope="module")
def words():
    return WordMap().eval()


def vectors(*texts):
    return torch.from_numpy(MiniLM(TextOptions()).encode(list(texts)))


def test_words_find_features_of_their_class(words):
    """Features that point from the mean to a class's weights are what its names, its kind and related words find."""
    classes = {
        "a tabby cat": 281,
        "goldfish": 1,
        "acoustic guitar": 402,
        "red wine": 966,
        "lorry with trailer": 867,
    }
    weight_KD = words.weight[list(classes.values())]
    features_KD = words.centre + 8 * F.normalize(weight_KD - words.weight.mean(0), dim=1)
    with torch.inference_mode():
        cosines_KK = words.words(vectors(*classes)) @ words.pictures(features_KD).T
        cat, fish = words.pictures(features_KD)[:2] @ words.words(vectors("an animal with fur")).T
    assert (cosines_KK.argmax(1) == torch.arange(len(classes))).all()
    assert cat > fish


def test_vectors_are_unit_and_a_share_is_a_distribution(words):
    features_ND = torch.rand(4, 1280, generator=torch.Generator().manual_seed(0))
    x_ND = F.normalize(F.normalize(vectors("dog", "a vehicle", "xyzzy"), dim=1) - words.text_centre, dim=1)
    share_NC = module.text_codes(x_ND, words.texts, words.owner, words.below)
    torch.testing.assert_close(share_NC.sum(1), torch.ones(3))
    for x_NW in (words.pictures(features_ND), words.words(vectors("dog"))):
        assert x_NW.shape[1] == WIDTH
        torch.testing.assert_close(x_NW.norm(dim=1), torch.ones(len(x_NW)))


def test_a_kind_is_shared_out_among_its_classes(words):
    x_ND = F.normalize(F.normalize(vectors("dog"), dim=1) - words.text_centre, dim=1)
    share_C = module.text_codes(x_ND, words.texts, words.owner, words.below)[0]
    dogs, others = share_C[151:269], torch.cat([share_C[:151], share_C[269:]])
    assert dogs.sum() > 0.9
    assert dogs.median() > others.max() / 10


def test_another_centre_is_taken(words):
    features_ND = torch.rand(8, 1280, generator=torch.Generator().manual_seed(1))
    own = words.pictures(features_ND, features_ND.mean(0))
    assert (own - words.pictures(features_ND)).abs().max() > 0.01


def test_one_name_is_two_towers_of_one_space():
    video, text = load_towers("wordtower#frames=4", ["video", "audio", "text"])
    assert (video.name, text.name) == ("wordtower#frames=4,modality=video", "wordtower#modality=text")
    assert video.width == text.width == WIDTH
    assert [e.name for e in load_towers("wordtower", ["video"])] == ["wordtower#modality=video"]
    assert load_encoder("wordtower", modality="text").name == text.name
    with pytest.raises(SeehearError, match="add #modality=video or #modality=text"):
        load_encoder("wordtower")


@pytest.fixture
def library(tmp_path):
    root = tmp_path / "words"
    root.mkdir()
    (root / "media").mkdir()
    film(root / "media" / "a.mp4", seconds=3.0, colours=True)
    (root / "media" / "a.txt").write_text("a red square\n")
    prepare(root / "media", root / "lib", PrepareOptions(workers=0, clips="fixed", seconds=1.0))
    return LibraryTables.open(root / "lib")


def test_latents_in_the_library_are_mapped_and_no_picture_is_read_again(library, monkeypatch):
    encode_library(library, ["efficientnet-lite0", "minilm"], EngineOptions(workers=0), device="cpu")
    encoder = load_encoder("wordtower", modality="video", device="cpu")
    source = library.vectors("latents", "efficientnet-lite0").read()
    clips = {clip.id: clip for clip in library.clips()}
    path = str(library.path_of(clips[source.ids[0]].source))
    samples = [Sample(path, clip.start, clip.end) for clip in clips.values()]
    parts = encoder.encode_parts([encoder.prepare(sample) for sample in samples])
    from_media = [vector for part in parts for vector in (part.vector, *part.frames)]
    assert all(len(part.frames) == 2 for part in parts)

    monkeypatch.setattr("seehear.library.engines.Local.vectors", lambda *_: pytest.fail("media were read"))
    report = encode_library(library, ["wordtower"], EngineOptions(workers=0), device="cpu")
    assert [(e.name, e.made, e.rejected) for e in report.encoders] == [
        ("wordtower#modality=video", 3, 0),
        ("wordtower#modality=text", 3, 0),
    ]
    rows = library.vectors("latents", "wordtower#modality=video").read()
    assert (rows.ids, rows.items.tolist()) == (source.ids, source.items.tolist())
    np.testing.assert_allclose(rows.vectors, from_media, atol=1e-3)
    again = encode_library(library, ["wordtower"], EngineOptions(workers=0), device="cpu")
    assert [(e.made, e.kept) for e in again.encoders] == [(0, 3), (0, 3)]


def test_a_map_of_other_latents_is_no_input_of_training_unless_named(library):
    encode_library(library, ["efficientnet-lite0", "minilm", "wordtower"], EngineOptions(workers=0), device="cpu")
    about = json.loads(library.about()["encoder:wordtower#modality=video"])
    assert about["source"] == "efficientnet-lite0"
    data = load_latents(library, prefix=library.clips()[0].id)
    assert {m: [e["name"] for e in infos] for m, infos in data.encoders.items()} == {
        "video": ["efficientnet-lite0"],
        "text": ["minilm"],
    }
    named = {"video": ["wordtower#modality=video"], "text": ["wordtower#modality=text"]}
    data = load_latents(library, encoders=named, prefix=library.clips()[0].id)
    assert data.widths == {"video": (WIDTH,), "text": (WIDTH,)}
