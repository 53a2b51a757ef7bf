"""What is learned from a library without a recipe, and whether that was worth it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from seehear.cli import main
from seehear.folders import indexes
from seehear.library.tables import Clip, LibraryTables, Source, Text, Vectors, content_key
from seehear.recipes import fusemix
from seehear.runs import config as presets
from seehear.runs import run as choosing
from seehear.runs.evaluate import EvaluateOptions, evaluate_run
from seehear.runs.run import choose
from seehear.runs.scores import ClipScores
from seehear.runs.verdict import examples, judge
from seehear.space import SharedSpace, read_config
from tests.runs.test_run import world

N, FEW, TEXT = 150, 40, Text("words")
SPLITS = ["train"] * 110 + ["val"] * 20 + ["test"] * 20


def put_latents(library, name, m, rows, **about):
    clips, sources, count = library.clips(), library.sources(), len(library.clips())
    info = {"modality": m, "width": rows.shape[1], "fingerprint": "f" * 16}
    library.set_about(f"encoder:{name}", json.dumps(info | about))
    contents = [content_key(c, m, 0, sources) for c in clips]
    ids, makers = [c.id for c in clips], ["f" * 16] * count
    vectors = Vectors(ids, np.zeros(count, np.int32), [m] * count, rows[:count].astype(np.float16), makers, contents)
    library.vectors("latents", name, rows.shape[1]).append(vectors)


def make_library(folder, *, n=N, noise=1.5, frozen=None, text=TEXT):
    """Latents of pictures and words that noise keeps apart, and where `frozen` is a number two towers of one encoder
    that agree up to so much of it. As a word tower's, they are functions of other latents: no run learns from them."""
    library = LibraryTables.create(folder)
    clips = [
        Clip(id=f"c{i:03d}", source=f"v{i:03d}.mp4", has_video=True, texts=(text,), group=f"g{i}", split=SPLITS[i])
        for i in range(n)
    ]
    library.put_clips(clips)
    library.put_sources([Source(source=c.source, size=1, mtime_ns=1, fingerprint=c.source) for c in clips])
    for name, m in (("eyes", "video"), ("words", "text")):
        put_latents(library, name, m, world(N, noise=noise)[m])
    if frozen is not None:
        rng = np.random.default_rng(7)
        shared = rng.normal(size=(N, 6))
        for m in ("video", "text"):
            towers = shared + frozen * rng.normal(size=(N, 6))
            put_latents(library, f"towers#modality={m}", m, towers, source=f"{m} latents")
    return library


@pytest.fixture(autouse=True)
def short(monkeypatch):
    full = presets.recipe("fusemix")
    train = replace(full.train, epochs=10, evaluations=5, device="cpu", fast_matmul=False)
    made = replace(full, method=replace(full.method, dim=8, head="linear", linear_lr=1.0), train=train)
    monkeypatch.setitem(presets.recipes(), "fusemix", lambda: made)


def trained(capsys, library, folder, *words):
    assert main(["train", library.uri, *words, "--out", str(folder)]) == 0
    return capsys.readouterr().out.splitlines()


def test_what_is_learned_is_kept_where_it_is_better(tmp_path, capsys, monkeypatch):
    library = make_library(tmp_path / "lib", noise=0.7, frozen=30.0)
    closed = fusemix.start_of
    much_is_left_to_learn = lambda *about, **locked: closed(*about, **locked).truncated(2)  # noqa: E731
    monkeypatch.setattr(fusemix, "start_of", much_is_left_to_learn)
    lines = trained(capsys, library, tmp_path / "run")
    config = read_config(tmp_path / "run" / "model")
    verdict = config["verdict"]
    assert (config["method"], verdict["best"], verdict["kept"], verdict["clips"]) == ("fusemix", *["training"] * 2, 20)
    assert verdict["words"] == lines[0]
    assert re.match(
        r"Training helped: of 20 validation clips it finds the counterpart of \d+ % in the first ten and of \d+ % "
        r"first, the closed form \d+ % and \d+ %, the untrained space towers \d+ % and \d+ %\. "
        r"Its score, the mean of both, is \d+\.\d points above that of the closed form "
        r"\(95 % interval .*, 20 recordings.*\)\. The run holds the trained model\.$",
        lines[0],
    )
    assert lines[1] == f"model: {tmp_path / 'run' / 'model'}"
    assert lines[2].startswith("next: seehear evaluate")
    options = EvaluateOptions(closed_forms=False, probes=False)
    report = evaluate_run(tmp_path / "run", library, options, device="cpu")
    assert report.about["verdict"] == verdict["words"]


def test_a_closed_form_that_training_does_not_improve_is_what_the_run_holds(tmp_path, capsys):
    library = make_library(tmp_path / "lib", noise=2.0)
    lines = trained(capsys, library, tmp_path / "run")
    assert lines[0].startswith("Training did not beat the closed form: of 20 validation clips it finds ")
    assert lines[0].endswith("%. The run holds the closed form.")
    assert read_config(tmp_path / "run" / "model")["verdict"]["kept"] == "the closed form"


def test_a_frozen_space_that_is_better_is_what_the_run_holds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(indexes, "calibrate_index", lambda *_: None)  # there is no encoder behind the towers
    library = make_library(tmp_path / "lib", noise=8.0, frozen=0.1)
    lines = trained(capsys, library, tmp_path / "run")
    assert lines[0].startswith("Training did not beat the untrained space towers: ")
    assert " points below that of the untrained space towers (" in lines[0]
    assert lines[0].endswith("The run holds the untrained space towers: searching goes on with it.")
    config, space = read_config(tmp_path / "run" / "model"), SharedSpace.from_pretrained(tmp_path / "run", device="cpu")
    assert (config["method"], config["verdict"]["kept"]) == ("frozen", "the frozen space towers")
    assert {m: [e["name"] for e in infos] for m, infos in space.encoders.items()} == {
        m: [f"towers#modality={m}"] for m in ("video", "text")
    }
    assert main(["index", library.uri, str(tmp_path / "run")]) == 0
    assert config["verdict"]["words"] in capsys.readouterr().err


def test_with_a_recipe_the_run_stays_as_it_was_trained(tmp_path, capsys):
    library = make_library(tmp_path / "lib", noise=8.0, frozen=0.1)
    lines = trained(capsys, library, tmp_path / "run", "fusemix")
    assert lines[0].endswith("'seehear train LIB' without a recipe keeps the best.")
    config = read_config(tmp_path / "run" / "model")
    assert (config["method"], config["verdict"]["best"]) == ("fusemix", "the frozen space towers")


def test_where_there_is_too_little_nothing_is_trained(tmp_path, capsys):
    library = make_library(tmp_path / "lib", n=FEW)
    lines = trained(capsys, library, tmp_path / "run")
    assert lines == [
        "0 films with sound and 40 clips with words of your own: too few to learn from; searched as they are",
        f"next: seehear index {library.uri}",
    ]
    assert not (tmp_path / "run").exists()


def test_words_that_a_machine_read_are_not_the_users_own(tmp_path):
    library = make_library(tmp_path / "lib", text=Text("words", 0.0, 1.0, kind="speech", by="whisper"))
    assert choose(library).why == "0 films with sound: too few to learn from; searched as they are"
    library.put_clips([replace(clip, has_audio=True) for clip in library.clips()])
    assert choose(library).recipe == "fusemix"  # no frozen space whose words it could bind to
    for m in ("video", "text"):
        put_latents(library, f"towers#modality={m}", m, np.ones((N, 6)))
    assert choose(library).recipe == choosing.BIND
    sign = Text("a sign that the user corrected", 0.0, 1.0, kind="screen")  # nothing is learned from signs
    library.put_clips([replace(clip, texts=(*clip.texts, sign)) for clip in library.clips()])
    assert choose(library).recipe == choosing.BIND
    library.put_clips([replace(clip, texts=(*clip.texts, Text("mine"))) for clip in library.clips()])
    assert choose(library).recipe == "fusemix"


def test_without_words_of_the_users_own_sounds_are_bound(tmp_path, capsys, monkeypatch):
    library = make_library(tmp_path / "lib", frozen=0.5, text=Text("words", 0.0, 1.0, kind="speech", by="whisper"))
    library.put_clips([replace(clip, has_audio=True) for clip in library.clips()])
    seen = library.vectors("latents", "towers#modality=video").read().vectors
    put_latents(library, "ears", "audio", seen @ np.random.default_rng(1).normal(size=(6, 9)))
    bind = presets.recipe(choosing.BIND)
    train = replace(bind.train, epochs=4, evaluations=2, device="cpu", fast_matmul=False)
    monkeypatch.setitem(presets.recipes(), choosing.BIND, lambda: replace(bind, train=train))
    lines = trained(capsys, library, tmp_path / "run")
    config = read_config(tmp_path / "run" / "model")
    assert config["training"]["recipe"] == "fusemix.bind"
    assert set(config["config"]["locked"]) == {"video", "text"}
    assert {"the closed form", "the frozen space towers"} < config["verdict"]["models"].keys()
    assert config["verdict"]["kept"] in ("training", "the closed form")
    assert lines[0] == config["verdict"]["words"]


def directions(**first):
    """{direction: scores of 4 clips in a gallery of 20}"""
    return {
        name.replace("_", "->"): ClipScores(np.arange(4), np.array(own, float), np.ones(4), np.ones(4), 20)
        for name, own in first.items()
    }


def test_a_frozen_space_is_compared_in_the_directions_that_it_knows():
    """Not as chance in the others: it beats training where it can be asked."""
    ours = directions(text_video=[1, 0, 0, 0], audio_video=[1, 1, 0, 0])
    verdict = judge(ours, {"the frozen space x": directions(text_video=[1, 1, 1, 1])}, np.arange(4))
    trained, frozen = verdict.standings
    assert (trained.first, trained.ten) == (0.375, 1.0)
    assert (frozen.first, frozen.ten, frozen.directions) == (1.0, 1.0, {"text->video": (1.0, 1.0)})
    assert frozen.trained == (0.25, 1.0)
    assert verdict.gain.difference == pytest.approx((0.25 + 1.0) / 2 - 1.0)
    shown = "the untrained space x 100 % and 100 % (in what it knows; training 100 % and 25 % there)"
    assert shown in str(verdict)


def test_what_training_alone_can_do_is_not_given_up_for_a_frozen_space():
    """Sound is found well above chance by the trained model alone, so the run keeps it, and says that it lost."""
    ours = directions(text_video=[1, 0, 0, 0], audio_video=[1, 1, 1, 1])
    frozen = {"the frozen space x": directions(text_video=[1, 1, 1, 1])}
    verdict = judge(ours, frozen, np.arange(4))
    assert (verdict.best, verdict.standings[1].lacks) == ("training", ("audio->video",))
    assert str(verdict).startswith("Training did not beat the untrained space x: ")
    assert str(verdict).endswith("The run holds the trained model, which alone knows sound.")
    nothing = ClipScores(np.arange(4), np.zeros(4), np.full(4, 0.2), np.ones(4), 20)  # below chance
    assert judge(ours | {"audio->video": nothing}, frozen, np.arange(4)).best == "the frozen space x"


def test_clips_that_only_one_model_knows_are_not_compared():
    ours = directions(text_video=[1, 0, 1, 0])
    known = ClipScores(np.array([0, 1]), np.zeros(2), np.ones(2), np.ones(2), 20)
    verdict = judge(ours, {"the frozen space x": {"text->video": known}}, np.arange(4))
    assert verdict.gain.difference == 0.25
    assert verdict.best == "training"


def test_a_tie_is_no_gain():
    ours = directions(text_video=[1, 0, 0, 0])
    verdict = judge(ours, {"the closed form": ours}, np.arange(4))
    assert (verdict.best, verdict.gain.difference) == ("the closed form", 0.0)
    assert judge(ours, {}, np.arange(4)) is None


def ranked(gallery=20, **ranks):
    """{direction: scores of clips with these ranks}"""
    made = {}
    for name, own in ranks.items():
        rank = np.array(own, float)
        scores = ClipScores(np.arange(len(rank)), (rank == 1) * 1.0, (rank <= 10) * 1.0, rank, gallery)
        made[name.replace("_", "->")] = scores
    return made


def test_examples_go_both_ways_and_begin_with_what_changed_most():
    ids = ["a", "b", "c", "d", "e"]
    before = ranked(text_video=[9, 2, 1, 5, 5])
    better, worse = examples(before, ranked(text_video=[1, 1, 4, 5, 6]), ids)
    assert [(e.clip, e.before, e.after, e.gallery) for e in better] == [("a", 9, 1, 20), ("b", 2, 1, 20)]
    assert [(e.clip, e.before, e.after) for e in worse] == [("c", 1, 4), ("e", 5, 6)]


def test_examples_of_what_could_not_be_asked_are_the_best_the_middle_and_the_last():
    better, worse = examples({}, ranked(audio_video=[7, 1, 3, 20, 2]), ["a", "b", "c", "d", "e"])
    assert [(e.clip, e.before, e.after) for e in better] == [("b", None, 1), ("c", None, 3), ("d", None, 20)]
    assert worse == ()
