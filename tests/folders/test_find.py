"""Search without a run, from the latents of a library to the command's answer."""

import json
from dataclasses import replace

import numpy as np
import pytest

from seehear.cli import main
from seehear.errors import SeehearError
from seehear.folders.find import open_library
from seehear.folders.indexes import index_frozen
from seehear.library.tables import LibraryTables
from seehear.search.index import build_index, indexes
from seehear.serve.runs import Runs
from seehear.space import SharedSpace, frozen
from tests.search import toy
from tests.search.test_moments import Space


class Reader:
    """An encoder of the toy: `Space.encode` before it is made unit."""

    def __init__(self, name, modality):
        self.name, self.modality, self.width, self.fingerprint = name, modality, toy.WIDTH, "f1"

    def preparation(self):
        return lambda sample: sample

    query_preparation = preparation

    def encode(self, samples):
        key = {"text": "text", "audio": "audio", "video": "video"}[self.modality]
        return Space(self.modality).encode_query([{key: s.text or s.path} for s in samples])


@pytest.fixture(autouse=True)
def encoders(monkeypatch):
    """toy#modality=video and #modality=text are towers of one model; toy-audio and toy-text stand alone."""

    def load(name, *, modality=None, device="auto"):
        base = name.split("#")[0]
        own = name.split("=")[-1] if "=" in name else base.partition("-")[2] or modality
        if own not in ("video", "text", "audio") or (base == "toy" and own == "audio"):
            raise SeehearError(f"encoder {name!r} does not encode {modality}")
        if modality and own != modality:
            raise SeehearError(f"encoder {name!r} encodes {own}, not {modality}")
        return Reader(f"toy#modality={own}" if base == "toy" else base, own)

    monkeypatch.setattr("seehear.encoders.registry.load_encoder", load)
    monkeypatch.setattr(frozen, "load_encoder", load)
    monkeypatch.setattr(frozen, "towers_of", lambda name: ("video", "text") if name == "toy" else ())


@pytest.fixture
def library(tmp_path):
    made = toy.library(tmp_path)
    clips = made.clips()
    made.vectors("latents", "toy#modality=video", toy.WIDTH).append(toy.rows(clips, "video"))
    for name, modality in (("toy#modality=video", "video"), ("toy-audio", "audio"), ("toy-text", "text")):
        about = {"modality": modality, "width": toy.WIDTH, "fingerprint": "f1"}
        made.set_about(f"encoder:{name}", json.dumps(about))
    return made


def test_the_frozen_spaces_of_a_library(library):
    """The tower for words is of queries only: the library has no latents of it."""
    found = frozen.frozen_towers(library.encoders())
    assert {name: list(towers) for name, towers in found.items()} == {
        "toy": ["video", "text"],
        "toy-audio": ["audio"],
        "toy-text": ["text"],
    }
    about = library.encoders()
    about["words:x"] = {"modality": "text", "width": 80, "fingerprint": "f", "shape": [10, 8]}
    about["tower"] = {"modality": "video", "width": 8, "fingerprint": "f", "of_run": True}
    assert frozen.frozen_towers(about).keys() == found.keys()


def test_an_encoder_that_reads_no_text_is_not_loaded(library, monkeypatch):
    loaded = []
    monkeypatch.setattr(frozen, "load_encoder", lambda name, **_: loaded.append(name))
    about = {n: a for n, a in library.encoders().items() if n != "toy#modality=video"}
    assert frozen.frozen_towers(about).keys() == {"toy-audio", "toy-text"}
    assert loaded == []


def test_two_settings_of_a_single_encoder_are_two_spaces(library):
    about = {n: a for n, a in library.encoders().items() if n != "toy#modality=video"}
    about["toy-audio#pool=max"] = about["toy-audio"]
    found = frozen.frozen_towers(about)
    assert {name: list(t) for name, t in found.items()} == {
        "toy-audio": ["audio"],
        "toy-audio#pool=max": ["audio"],
        "toy-text": ["text"],
    }


def test_a_frozen_space_is_a_shared_space(library):
    space = SharedSpace.from_pretrained(f"frozen:{library.uri}")
    assert (space.modalities, space.dim, space.method.name) == (("video", "image", "text"), toy.WIDTH, "frozen")
    assert space.supports("text->image")
    words, picture = space.encode(["a dog"]), space.encode([{"image": "dog.jpg"}])
    assert SharedSpace.similarity(words, picture)[0, 0] > 0.7
    x = np.random.default_rng(0).normal(size=(3, toy.WIDTH)).astype(np.float32)
    np.testing.assert_allclose(space.encode_latents({"video": x})["video"], toy.unit(x), rtol=1e-6)
    assert SharedSpace.from_pretrained(f"frozen:{library.uri}#toy-text").modalities == ("text",)
    assert SharedSpace.from_pretrained("frozen:toy").modalities == ("video", "image", "text")
    with pytest.raises(SeehearError, match="unknown frozen space 'toys'"):
        SharedSpace.from_pretrained(f"frozen:{library.uri}#toys")


def test_a_library_is_searched_without_a_run(library, capsys):
    assert main(["index", library.uri, "--quiet"]) == 0
    assert list(indexes(LibraryTables.open(library.uri))) == ["frozen-toy", "frozen-toy-audio", "frozen-toy-text"]
    capsys.readouterr()
    assert main(["search", library.uri, "a dog", "--k", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["query", "words", "hits", "indexed", "clips"]
    assert list(answer["hits"][0]) == ["file", "start", "end", "kind", "text", "score", "confidence", "words"]
    assert all("dog" in hit["file"] for hit in answer["hits"])
    assert main(["search", library.uri, "a dog", "--kinds", "seen", "--k", "1"]) == 0
    line = capsys.readouterr().out
    assert "seen" in line
    assert "dog" in line
    assert main(["index", library.uri]) == 0
    said = capsys.readouterr().out
    assert "24 vectors (24 kept)" in said
    assert said.endswith(f'next: seehear search {library.uri} "what to look for"; seehear serve {library.uri}\n')


def test_one_frozen_index_alone(library, capsys):
    index_frozen(library)
    assert main(["search", library.uri, "a dog", "--index", "frozen-toy", "--k", "2", "--json"]) == 0
    assert [hit["id"][:3] for hit in json.loads(capsys.readouterr().out)] == ["dog", "dog"]


def test_a_frozen_index_is_served(library):
    """The newest index, which opens first, is of the joint space: the page can be asked with words."""
    index_frozen(library)
    run = Runs(library.uri, None).get()
    assert (run.name, run.space.modalities) == ("frozen-toy", ("video", "image", "text"))
    assert run.searcher.search({"vector": run.encode_text("a dog")}, k=1)[0].id.startswith("dog")


def test_words_can_be_asked_from_the_first_index_on(library, monkeypatch):
    """Killed when one index is made: it is that of the joint space, and stays the one that opens first."""
    from seehear.folders import indexes as module

    build, made = module.build_index, []

    def build_one(*given, name, **options):
        if made:
            raise KeyboardInterrupt
        made.append(name)
        return build(*given, name=name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, "build_index", build_one)
        with pytest.raises(KeyboardInterrupt):
            index_frozen(library)
    assert made == ["frozen-toy"]
    index_frozen(library)
    assert Runs(library.uri, None).get().name == "frozen-toy"


def test_an_index_that_is_built_again_keeps_its_calibration_meanwhile(library):
    index_frozen(library)
    before = indexes(library)["frozen-toy"]["background"]
    space = SharedSpace.from_pretrained(f"frozen:{library.uri}#toy")
    build_index(library, space, name="frozen-toy", model="frozen:#toy")
    assert indexes(library)["frozen-toy"]["background"] == before
    assert open_library(LibraryTables.open(library.uri)).search("a cat", k=1).hits[0].clip.startswith("cat")


def test_an_index_that_grows_is_served_as_it_grows(library, monkeypatch):
    """With the model that is loaded, and in its place among the indexes: the page goes on with the same one."""
    monkeypatch.setattr("seehear.serve.runs.FRESH", -1.0)
    index_frozen(library)
    runs = Runs(library.uri, None)
    first, space = runs.get(), runs.get().space
    new = replace(library.clips("id = 'dog00'")[0], id="dog99", source="town/dog99.mp4")
    library.put_clips([new])
    library.vectors("latents", "toy#modality=video", toy.WIDTH).append(toy.rows([new], "video"))
    index_frozen(library)
    run = runs.get()
    assert (run.name, run.space) == (first.name, space)
    found = run.searcher.search({"vector": run.encode_text("a dog")}, k=5, modalities=["video"])
    assert "dog99" in [hit.id for hit in found]


def test_a_library_that_has_moved_is_searched(library, tmp_path):
    index_frozen(library)
    (tmp_path / "lib").rename(tmp_path / "moved")
    answer = open_library(LibraryTables.open(tmp_path / "moved")).search("a cat", k=1)
    assert answer.hits[0].clip.startswith("cat")


def test_what_cannot_be_searched_is_told_in_one_line(library, tmp_path, capsys):
    assert main(["search", library.uri, "a dog"]) == 2
    assert "has no index: run 'seehear index" in capsys.readouterr().err
    empty = LibraryTables.create(tmp_path / "empty")
    assert main(["index", empty.uri]) == 2
    assert "has no clips: run 'seehear prepare" in capsys.readouterr().err
    empty.put_clips(library.clips())
    assert main(["index", empty.uri]) == 2
    assert "has no latents: run 'seehear encode" in capsys.readouterr().err
    index_frozen(library)
    assert main(["search", library.uri, "a dog", "--hybrid"]) == 2
    assert "add --index NAME" in capsys.readouterr().err


def test_sounds_alone(tmp_path, capsys):
    """Words have nothing to be compared with, and that is said; sounds find their like."""
    library = toy.library(tmp_path)
    library.put_clips([replace(c, texts=(), has_video=False, has_audio=True) for c in library.clips()])
    table = library.vectors("latents", "toy-audio")
    table.remove("true")
    table.append(toy.rows(library.clips(), "audio"))
    about = {"modality": "audio", "width": toy.WIDTH, "fingerprint": "f1"}
    library.set_about("encoder:toy-audio", json.dumps(about))
    index_frozen(library)
    capsys.readouterr()
    assert main(["search", library.uri, "a dog"]) == 2
    assert "no words can be compared with" in capsys.readouterr().err
    assert main(["search", library.uri, "--like", "dog00", "--k", "2"]) == 0
    assert capsys.readouterr().out.count("dog") == 2
