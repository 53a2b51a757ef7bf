"""Learning beside the server: a small program stands for `seehear`, and writes what `plan`, `train` and `index` do."""

import json
import sys
import time
from datetime import datetime
from threading import Thread

import pytest
from starlette.testclient import TestClient

from seehear.library.locking import learning
from seehear.library.tables import LibraryTables
from seehear.progress import Interrupted
from seehear.runs.run import choose
from seehear.serve import upkeep
from seehear.serve.app import create_app
from seehear.serve.config import ServeConfig
from seehear.serve.verdicts import verdict_view
from tests.runs.test_verdict import FEW, make_library

PROGRAM = """
import json, signal, sys, time
from pathlib import Path

here, words = Path(__file__).parent, sys.argv[1:]
with open(here / "calls", "a") as file:
    file.write(json.dumps(words) + "\\n")
behaviour = (here / "behaviour").read_text() if (here / "behaviour").exists() else ""
if "plan" in words:
    print((here / "plan.json").read_text())
elif words[0] == "train":
    folder = Path(words[words.index("--out") + 1])
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    entries = {"step": 1000, "steps": 4000, "seconds_left": 90.0}, {"step": 1000, "val/score": 0.5}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\\n" for entry in entries))
    if behaviour == "wait" and "--resume" not in words:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
        (here / "waits").touch()
        time.sleep(600)
    if behaviour == "fail":
        print("reading clips\\nseehear: the disk is full: make room", file=sys.stderr)
        sys.exit(2)
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").touch()
    (folder / "model" / "config.json").write_text((here / "model.json").read_text())
elif words[0] == "index" and behaviour == "busy" and not (here / "asked").exists():
    (here / "asked").touch()
    print("seehear: lib is being written by another process (vectors): run the same command again", file=sys.stderr)
    sys.exit(2)
"""
PLAN = {"recipe": "fusemix.base", "parameters": 1_000_000, "clips": 100, "seconds": 240.0, "bytes": 0.9e9}
PLAN |= {"free_bytes": 8e9, "fits": True, "why_not": ""}
BEFORE = "the frozen space towers"


def model(ten, first, *, lacks=()):
    directions = {"text->video": [first, ten], "video->audio": [first, ten]}
    known = {name: shares for name, shares in directions.items() if name not in lacks}
    return {"ten": ten, "first": first, "directions": known, "lacks": list(lacks)}


def verdict(kept="training", **more):
    gain = {"difference": 0.1, "low": 0.02, "high": 0.2, "groups": 40}
    change = {"direction": "text->video", "before": 14.0, "after": 2.0, "gallery": 20}
    models = {"training": model(0.88, 0.5), BEFORE: model(0.61, 0.3)}
    found = {"words": "", "kept": kept, "clips": 84, "asked": dict.fromkeys(models["training"]["directions"], 84)}
    found |= {"gain": gain, "models": models}
    later = change | {"clip": "clip-001", "before": 1.0, "after": 3.0}
    return found | {"better": [change | {"clip": "clip-000"}], "worse": [later]} | more


class Trial:
    """A server over a library of its own, with the program beside it."""

    def __init__(self, client, folder):
        self.client, self.folder = client, folder

    def get(self):
        return self.client.get("/api/learn").json()

    def behave(self, how):
        (self.folder / "behaviour").write_text(how)

    def until(self, found):
        """GET once it is as it should be."""
        for _ in range(3000):
            if found(now := self.get()):
                return now
            time.sleep(0.02)
        raise AssertionError(f"it stays {now}")

    def calls(self, name):
        lines = (self.folder / "calls").read_text().splitlines()
        return [words for words in map(json.loads, lines) if words[0] == name]


def trial_in(tmp_path, monkeypatch):
    """A library that can be learned from, and the program in place of `seehear`."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "plan.json").write_text(json.dumps({"recipes": [PLAN]}))
    plain = {"method": "fusemix", "config": {}, "encoders": {}, "verdict": verdict()}
    (tmp_path / "model.json").write_text(json.dumps(plain))
    monkeypatch.setattr(upkeep, "PROGRAM", [sys.executable, str(tmp_path / "program.py")])
    monkeypatch.setattr("seehear.serve.learning.AGAIN", 0.01)
    make_library(tmp_path / "lib")


@pytest.fixture
def trial(tmp_path, monkeypatch):
    trial_in(tmp_path, monkeypatch)
    with TestClient(app_of(tmp_path), base_url="http://localhost") as client:
        yield Trial(client, tmp_path)


def app_of(folder):
    return create_app(str(folder / "lib"), ServeConfig(cache=folder / "cache", device="cpu"))


def test_what_it_costs_is_said_before_it_starts(trial):
    found = trial.until(lambda now: now["cost"])
    assert (found["state"], found["why"]) == ("ready", choose(LibraryTables.open(trial.folder / "lib")).why)
    assert found["cost"]["line"] == "about 4 minutes at most, 900 MB of memory and 36 MB on disk"
    assert (found["working"], found["verdict"], found["problem"]) == (None, None, "")
    trial.get()
    lines = (trial.folder / "calls").read_text().splitlines()
    assert len(lines) == 1, "it is estimated once"


def test_a_cost_that_cannot_be_measured_keeps_nobody_from_learning(trial):
    busy = PLAN | {"why_not": "not a step in 30 s: more --seconds measure it", "unmeasured": True}
    (trial.folder / "plan.json").write_text(json.dumps({"recipes": [busy]}))
    found = trial.until(lambda now: now["unknown"])
    assert (found["unknown"], found["problem"], found["cost"]) == ("this machine is too busy now", "", None)
    trial.client.post("/api/learn")
    trial.until(lambda now: now["verdict"])


def test_too_few_recordings_are_said_and_nothing_starts(tmp_path):
    make_library(tmp_path / "lib", n=FEW)
    with TestClient(app_of(tmp_path), base_url="http://localhost") as client:
        found, refused = client.get("/api/learn").json(), client.post("/api/learn")
    assert (found["state"], found["cost"]) == ("few", None)
    assert found["why"].endswith("too few to learn from; searched as they are")
    assert found["needed"].startswith("130 clips ")
    assert (refused.status_code, refused.json()["message"]) == (409, found["why"])


def test_what_is_learned_is_indexed_and_told_in_words(trial):
    assert trial.client.post("/api/learn").status_code == 202
    found = trial.until(lambda now: now["state"] != "working")
    assert found["problem"] == ""
    told = found["verdict"]
    assert told["headline"] == "It helped: the right clip is among the first ten for 88 of 100 searches, before for 61."
    assert told["lines"][1] == "They are from 40 recordings, enough to tell the difference from chance."
    assert told["directions"][0] == {
        "what": "Pictures found by words",
        "asked": 84,
        "before": 0.61,
        "after": 0.88,
    }
    assert [(e["before"], e["after"], e["of"]) for e in told["earlier"] + told["later"]] == [(14, 2, 20), (1, 3, 20)]
    assert datetime.fromisoformat(told["made"]).tzinfo
    [indexed] = trial.calls("index")
    [trained] = trial.calls("train")
    assert indexed[2] == trained[trained.index("--out") + 1]
    assert indexed[indexed.index("--name") + 1].startswith("learned-20")


def test_an_index_that_another_process_writes_is_waited_for(trial):
    trial.behave("busy")
    trial.client.post("/api/learn")
    assert trial.until(lambda now: now["state"] != "working")["problem"] == ""
    assert len(trial.calls("index")) == 2


def test_what_is_no_better_is_not_searched(trial):
    plain = {"method": "frozen", "config": {}, "encoders": {}, "verdict": verdict(BEFORE)}
    (trial.folder / "model.json").write_text(json.dumps(plain))
    trial.client.post("/api/learn")
    told = trial.until(lambda now: now["state"] != "working")["verdict"]
    assert (told["better"], told["index"]) == (False, "")
    assert told["headline"] == "Nothing got better: your library is searched as before."
    assert trial.calls("index") == []


def test_it_stops_and_goes_on_where_it_was(trial):
    trial.behave("wait")
    trial.client.post("/api/learn")
    now = trial.until(lambda now: (now["working"] or {}).get("done"))
    assert (now["working"]["done"], now["working"]["total"]) == (1000, 4000)
    assert now["working"]["line"] == "learning, 1,000 of 4,000 steps, at most 1:30 left"
    assert trial.client.post("/api/learn").status_code == 409, "one at a time"
    trial.until(lambda _: (trial.folder / "waits").exists())
    assert trial.client.delete("/api/learn").status_code == 202
    trial.until(lambda now: now["state"] == "stopped")
    assert trial.client.delete("/api/learn").status_code == 409
    trial.client.post("/api/learn")
    trial.until(lambda now: now["verdict"])
    first, second = trial.calls("train")
    assert second == [*first, "--resume"]


def test_a_library_that_changed_is_learned_from_anew(trial):
    trial.behave("wait")
    trial.client.post("/api/learn")
    trial.until(lambda _: (trial.folder / "waits").exists())
    trial.client.delete("/api/learn")
    trial.until(lambda now: now["state"] == "stopped")
    library = LibraryTables.open(trial.folder / "lib")
    library.put_clips(library.clips()[:1])
    trial.client.app.state.seehear.runs._looked = -1e9  # it looks at the library again
    assert trial.get()["state"] == "ready"


def test_an_error_is_one_line(trial):
    trial.behave("fail")
    trial.client.post("/api/learn")
    assert trial.until(lambda now: now["problem"])["problem"] == "the disk is full: make room"


def test_who_learns_in_a_terminal_is_alone(trial):
    trial.until(lambda now: now["cost"])  # a process that is just being forked would hold this one's lock too
    with learning(str(trial.folder / "lib")):
        assert trial.get()["state"] == "elsewhere"
        refused = trial.client.post("/api/learn")
    assert (refused.status_code, refused.json()["code"]) == (409, "learning")
    assert trial.get()["state"] == "ready"


def test_the_server_ends_with_what_it_learns(tmp_path, trial):
    trial.behave("wait")
    trial.client.post("/api/learn")
    trial.until(lambda _: (tmp_path / "waits").exists())
    trial.client.app.state.seehear.close()  # it would wait ten minutes
    assert trial.get()["state"] == "stopped"


def test_a_command_that_is_ended_counts_as_stopped_whatever_its_status(tmp_path, monkeypatch):
    """Windows has no signals: a program that is ended there has status 1."""
    program = "import signal, sys; signal.signal(15, lambda *_: sys.exit(1)); print(flush=True); signal.pause()"
    monkeypatch.setattr(upkeep, "PROGRAM", [sys.executable, "-c", f"{program}; sys.exit(3)"])
    running = upkeep.Commands()
    Popen = upkeep.subprocess.Popen

    def started(*words, **options):
        process = Popen(*words, **options)
        process.stdout.readline()
        Thread(target=running.stop).start()
        return process

    monkeypatch.setattr(upkeep.subprocess, "Popen", started)
    with pytest.raises(Interrupted):
        running.run([])


def test_a_verdict_says_what_could_not_be_asked_before():
    before = model(0.11, 0.01, lacks=["text->video", "video->audio"])
    told = verdict_view(
        verdict(models={"training": model(0.5, 0.1), BEFORE: before}), made="", index="learned", clips={}
    )
    assert told.headline == "New: pictures found by words, sounds found by their picture."
    assert [direction.before for direction in told.directions] == [None, None]


def test_of_few_clips_first_places_are_told_and_what_was_asked_too_rarely_is_left_out():
    told = verdict_view(verdict(clips=13, asked={"text->video": 13, "video->audio": 2}), made="", index="", clips={})
    assert told.headline == "It helped: the right clip comes first for 50 of 100 searches, before for 30."
    assert [direction.what for direction in told.directions] == ["Pictures found by words"]


def test_a_doubtful_gain_is_said_to_be_one():
    gain = {"difference": 0.01, "low": -0.1, "high": 0.1, "groups": 12}
    told = verdict_view(verdict(gain=gain), made="", index="", clips={})
    assert told.lines[1] == "They are from 12 recordings: the difference may be chance."


# -- indexes that catch up ---------------------------------------------------------------------------------------------


def test_an_index_that_is_behind_catches_up_once_the_library_rests(trial):
    from seehear.search.index import build_index
    from tests.search import toy

    library = toy.library(trial.folder / "toy")
    library.set_about("encoder:toy-text", json.dumps({"modality": "text", "width": 8, "fingerprint": "f1"}))
    build_index(library, toy.Space(), name="run", model=str(trial.folder / "run"))
    with TestClient(
        create_app(library.uri, ServeConfig(cache=trial.folder / "cache2")), base_url="http://localhost"
    ) as client:
        state = client.app.state.seehear
        look, said = state.catch_up.look, []
        assert not look()
        assert not look(), "nothing is behind"
        library.put_clips([toy.clip(n) for n in range(24, 27)])
        state.runs._looked = -1e9
        assert not look(), "it is being written"
        run = state.catch_up._commands.run
        state.catch_up._commands.run = lambda words: (said.append(client.get("/api/progress").json()), run(words))
        assert look()
        assert not look(), "once for a state of the library"
    assert said[0]["state"] == "working"
    assert said[0]["line"] == "3 of 27 clips are not indexed yet: indexing what can be"
    assert trial.calls("index") == [["index", library.uri, str(trial.folder / "run")]]
    assert trial.calls("encode") == [["encode", library.uri, "--encoders", "toy-text"]]
    assert upkeep.LOOK > 1000, "tests look themselves"


@pytest.mark.slow
def test_seehear_itself_learns_stops_and_goes_on(tmp_path):
    """The towers of this library have no encoder behind them, so its index cannot be made: that is said in a line."""
    make_library(tmp_path / "lib", noise=0.7, frozen=30.0)
    with TestClient(app_of(tmp_path), base_url="http://localhost") as client:
        trial = Trial(client, tmp_path)
        found = trial.until(lambda now: now["cost"] or now["unknown"])
        assert found["unknown"] == ""
        assert found["cost"]["fits"]
        trial.client.post("/api/learn")
        trial.until(lambda now: (now["working"] or {}).get("done"))
        trial.client.delete("/api/learn")
        assert trial.until(lambda now: now["state"] not in ("working", "stopping"))["state"] in ("stopped", "ready")
        trial.client.post("/api/learn")
        found = trial.until(lambda now: now["state"] not in ("working", "stopping"))
    assert len(list((tmp_path / "lib" / "learned").glob("*.json"))) == 1, "the same run went on"
    assert found["verdict"]["directions"]
    assert found["verdict"]["earlier"]
    assert "\n" not in found["problem"]
