"""The study of modalities trains each recipe on what the recipe reads, and tests on another library if asked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from seehear.datasets import ImportOptions, import_dataset
from seehear.errors import SeehearError
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.tables import Clip, LibraryTables, Text, Vectors, content_key
from seehear.recipes import mcn
from seehear.runs import config as presets
from seehear.runs import run
from seehear.studies import modalities as study
from seehear.studies import modality_report
from seehear.studies.modality_report import designs
from tests.datasets.sets import features, write

WORDS, FRAMES = [4, 6], [4, 30]
TABLE = "4 3\negg 1 0 0\nstir 0 1 0\nbake 0 0 1\nbowl 1 1 0\n"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two rows of a tiny `mcn.paper`, no figure; what was trained on is noted."""
    paper = mcn.paper()
    method = replace(paper.method, dim=8, hidden=8, clusters=2, queue=8, refit_every=1, channels=(4, 4))
    train = replace(paper.train, epochs=1, batch_size=8, evaluations=1, device="cpu", precision="fp32")
    contexts = replace(paper.data.contexts, clips_per_video=4)
    tiny = replace(paper, method=method, train=train, data=replace(paper.data, contexts=contexts))
    monkeypatch.setitem(presets.recipes(), "mcn.paper", lambda: tiny)
    fuse = presets.recipe("fusemix")
    head = replace(fuse.method, dim=8, head="linear")
    monkeypatch.setitem(presets.recipes(), "fusemix", lambda: replace(fuse, method=head, train=train))
    monkeypatch.setattr(study, "designs", lambda m: [d for d in designs(m) if d.name in ("V+T", "V+A", "V+A+T")])
    monkeypatch.setattr(modality_report, "_figure", lambda *_, **__: None)
    learned, train_on = [], run.train_on
    monkeypatch.setattr(run, "train_on", lambda inputs, *a, **k: (learned.append(inputs), train_on(inputs, *a, **k))[1])
    return learned


def library(folder) -> LibraryTables:
    """Ten recordings of three clips of 4 s, in every split; text as words and as a vector, sound as frames alone."""
    made = LibraryTables.create(folder)
    clips = [
        Clip(
            id=f"r{r}-{n}",
            source=f"r{r}.mp4",
            start=4.0 * n,
            end=4.0 * n + 4.0,
            has_video=True,
            has_audio=True,
            texts=(Text(f"text {n}", start=4.0 * n, end=4.0 * n + 4.0),),
            group=f"r{r}",
            split=("train", "val", "test")[max(0, r - 7)],
        )
        for r in range(10)
        for n in range(3)
    ]
    made.put_clips(clips)
    rng = np.random.default_rng(0)
    encoders = {"v": ("video", None), "t": ("text", None), "words": ("text", WORDS), "mel": ("audio", FRAMES)}
    for name, (m, shape) in encoders.items():
        width = 6 if shape is None else shape[0] * shape[1]
        keys = [content_key(c, m, 0, {}) for c in clips]
        rows = rng.normal(size=(len(clips), width)) - (40 if name == "mel" else 0)
        none = np.zeros(len(clips), np.int32)
        made.vectors("latents", name, width).append(
            Vectors([c.id for c in clips], none, [m] * len(clips), rows, [f"f-{name}"] * len(clips), keys)
        )
        about = {"fingerprint": f"f-{name}", "width": width, "modality": m} | ({"shape": shape} if shape else {})
        made.set_about(f"encoder:{name}", json.dumps(about))
    return made


def cells(folder):
    return json.loads((folder / "study.json").read_text())["cells"]


def test_a_recipe_is_trained_as_it_is_and_what_it_cannot_read_is_said(tmp_path, small):
    study.study_modalities(
        library(tmp_path / "lib"), tmp_path / "out", study.ModalityOptions(methods=("mcn.paper", "fusemix"), seeds=1)
    )
    of_paper = [inputs for inputs in small if inputs.contexts is not None]
    assert {tuple(inputs.contexts.batch(inputs.contexts.groups[:1])) for inputs in of_paper} == {
        ("video", "has_video", "audio", "has_audio", "group"),
        ("video", "has_video", "text", "has_text", "group"),
        ("video", "has_video", "audio", "has_audio", "text", "has_text", "group"),
    }
    names = {m: [e["name"] for e in infos] for m, infos in of_paper[-1].encoders.items()}
    assert names == {"video": ["v"], "audio": ["mel"], "text": ["words"]}
    assert {len(inputs.contexts) for inputs in of_paper} == {8 * 4}  # recordings, clips drawn of each
    assert [len(c) for c in of_paper[0].contexts.clips(of_paper[0].contexts.groups[:3])] == [3, 3, 3]  # 12 s
    failed = {(c["cell"]["method"], c["cell"]["design"]): c["error"] for c in cells(tmp_path / "out") if c["error"]}
    wanted = {(method, design) for method in ("closed form", "fusemix") for design in ("V+A", "V+A+T")}
    assert set(failed) == wanted
    assert set(failed.values()) == {
        f"{name} reads vectors, and the library has audio only as words or frames: encode them with an encoder of "
        "vectors, too"
        for name in ("closed form", "fusemix")
    }


def test_arrays_have_no_neighbours(tmp_path):
    data = study.load_latents(library(tmp_path / "lib"))
    with pytest.raises(SeehearError, match=r"mcn.paper makes training clips of neighbours.* needs a library"):
        study.study_of(data, [""] * len(data), tmp_path / "out", study.ModalityOptions(methods=("mcn.paper",)))


def test_a_recipe_that_binds_is_refused(tmp_path):
    with pytest.raises(SeehearError, match=r"recipe 'fusemix.bind' extends a frozen space, which the study cannot"):
        study.study_modalities(
            library(tmp_path / "lib"), tmp_path / "out", study.ModalityOptions(methods=("fusemix.bind",))
        )


# -- trained on one library, tested on another -------------------------------------------------------------------------


@pytest.fixture
def howto(tmp_path):
    """Four videos in the layout of HowTo100M."""
    root, table = tmp_path / "howto", tmp_path / "words.txt"
    table.write_text(TABLE)
    said = {"start": [0.0, 3.0, 6.0], "end": [2.9, 5.9, 9.0], "text": ["egg", "stir the bowl", "bake"]}
    write(root / "caption.json", {f"v{n}": said for n in range(4)})
    for n in range(4):
        features(root / "features", f"v{n}", 12, seed=n)
    return encoded(import_as("howto100m", root), table)


@pytest.fixture
def youcook(tmp_path):
    """Three videos in the layout of YouCook2, tested on."""
    root, table = tmp_path / "youcook", tmp_path / "words.txt"
    rows = [
        f"yyyyyyyyyy{n},{2 * n},{2 * n + 4},{text},113" for n, text in enumerate(("egg bowl", "stir", "bake the egg"))
    ]
    write(root / "validation_youcook.csv", "\n".join(["video_id,start,end,text,task", *rows]))
    for n in range(3):
        features(root / "features", f"yyyyyyyyyy{n}", 12, seed=10 + n)
    return encoded(import_as("youcook2", root), table)


def import_as(name, root):
    import_dataset(name, root, root / "library", ImportOptions(workers=0, features=root / "features"))
    return LibraryTables.open(root / "library")


def encoded(made, table):
    encode_library(made, [f"words:{table}#max=4"], EngineOptions(workers=0))
    return made


def test_howto100m_to_youcook2_for_every_combination(tmp_path, howto, youcook, small):
    options = study.ModalityOptions(methods=("mcn.paper",), seeds=1, test_on=youcook.uri)
    study.study_modalities(howto, tmp_path / "out", options)
    told = {c["cell"]["design"]: c for c in cells(tmp_path / "out") if c["cell"]["method"] == "mcn.paper"}
    assert set(told) == {"V+T", "V+A", "V+A+T"}
    assert {c["cell"]["tested on"] for c in told.values()} == {youcook.uri}
    assert not any(c["error"] for c in told.values())
    assert "text->video+audio R@1" in told["V+A+T"]["values"]
    assert {inputs.library for inputs in small} == {""}
    about = json.loads((tmp_path / "out" / "study.json").read_text())["about"]
    assert (about["data"]["train"], about["data"]["test"]) == (12, 3)
    assert {tuple(inputs.clips.ids[:1]) for inputs in small} == {("v0_0000",)}


def test_a_library_of_other_encoders_is_refused(tmp_path, howto):
    other = library(tmp_path / "other")
    with pytest.raises(SeehearError, match="has no latents of encoder"):
        study.study_modalities(
            howto, tmp_path / "out", study.ModalityOptions(methods=("mcn.paper",), test_on=other.uri)
        )
