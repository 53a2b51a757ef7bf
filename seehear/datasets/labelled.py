"""Sets with labels: of sounds (ESC-50, ESC-10, Speech Commands, AudioSet, VGGSound, VGGSounder), of actions (Kinetics,
UCF101, HMDB51), and of timed events (AVE, LLP)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath

from seehear.datasets.base import Items, MediaIndex, spaced, whole_file, youtube_clip
from seehear.datasets.files import Files, Record, given, number, read_table, span, words
from seehear.errors import SeehearError
from seehear.library.manifest import ManifestRow

# Clips of VGGSound, cut like those of AudioSet.
_CLIP_SECONDS = 10.0
# Official folds of ESC-50 and ESC-10.
_FOLDS = 5


def esc50(files: Files, *, only_esc10: bool) -> Items:
    """Clips with fold `fold` as test and the next one as validation; the rest is train."""
    path = files.need("esc50.csv")

    def item(row: dict[str, str]) -> ManifestRow | None:
        if row["fold"] not in {str(fold) for fold in range(1, _FOLDS + 1)}:
            raise SeehearError(f"fold {row['fold']!r} is none of 1 to {_FOLDS}")
        if only_esc10 and row["esc10"].lower() != "true":
            return None
        name, test = given(row, "filename").rpartition(".")[0], files.options.fold
        splits = {test: "test", test % _FOLDS + 1: "val"} if test else {}
        labels, meta = (spaced(given(row, "category")),), {key: row[key] for key in ("fold", "target", "esc10")}
        # Several clips come from one upload, and ESC-50 keeps these in one fold.
        group = given(row, "src_file")
        return whole_file(name, splits.get(int(row["fold"]), "train"), group=group, labels=labels, meta=meta)

    columns = ("filename", "fold", "target", "category", "esc10", "src_file")
    yield from files.rows(path, read_table(path, columns), item)


def speech_commands(files: Files) -> Items:
    """Clips of the validation and test lists; every other clip below a word's folder is train."""
    # There is no list of training clips, only of the held-out ones.
    listed: set[str] = set()
    for split, name in (("val", "validation_list.txt"), ("test", "testing_list.txt")):
        path = files.need(name)
        for line, name in words(path):
            clip = name.removesuffix(".wav")
            listed.add(clip)
            yield from files.rows(path, [(line, {"clip": clip})], partial(_of_speech, split=split))
    assert isinstance(files.media, MediaIndex)
    for place, found in enumerate(files.media, start=1):
        clip = "/".join(PurePosixPath(found).with_suffix("").parts[-2:])
        # The folder of background noises has no word, and no such name in it.
        if "_nohash_" in clip and clip not in listed:
            yield replace(_of_speech({"clip": clip}, "train"), table="speech-commands", line=place)


def _of_speech(row: dict[str, str], split: str) -> ManifestRow:
    word, _, name = row["clip"].partition("/")
    # The speaker is the group: none is in two splits.
    speaker, marked, _ = name.partition("_nohash_")
    if not marked:
        raise SeehearError(f"{row['clip']!r} is no clip: expected WORD/SPEAKER_nohash_NUMBER.wav")
    return whole_file(row["clip"], split, group=speaker, labels=(word,))


_SEGMENTS = ("youtube_id", "start_seconds", "end_seconds", "positive_labels")
_SUBSETS = {"balanced": "balanced_train", "unbalanced": "unbalanced_train", "eval": "eval"}
_VGGSOUND = re.compile(r"(.{11})_(\d{6})(\.\w+)?")


def audioset(files: Files, *, subsets: tuple[str, ...]) -> Items:
    index = files.need("class_labels_indices.csv", "audioset_class_labels_indices.csv")
    named = read_table(index, ("index", "mid", "display_name"))
    classes = {row["mid"]: row["display_name"] for _, row in named if isinstance(row, dict)}
    segments = {subset: f"{_SUBSETS[subset]}_segments.csv" for subset in subsets}
    paths = {subset: files.find(name, f"audioset_{name}") for subset, name in segments.items()}
    if not any(paths.values()):
        raise files.expected()

    def item(split: str, subset: str, row: dict[str, str]) -> ManifestRow:
        video, (start, end) = given(row, "youtube_id"), span(row, "start_seconds", "end_seconds")
        mids = given(row, "positive_labels").replace(" ", "").split(",")
        if unknown := [mid for mid in mids if mid not in classes]:
            raise SeehearError(f"label {unknown[0]!r} is not in class_labels_indices.csv")
        labels = tuple(classes[mid] for mid in mids)
        return youtube_clip(video, f"{video}_{start:g}", split, (start, end), meta={"subset": subset}, labels=labels)

    for subset, path in paths.items():
        split = "test" if subset == "eval" else "train"
        if path is not None:
            # Copies of the lists have lost their comments, or only the # before the names of the columns.
            records = read_table(path, _SEGMENTS, first=("ytid",))
            yield from files.rows(path, records, partial(item, split, subset))
        elif files.options.wants(split):
            files.notes.append(f"not there, and so not imported: {segments[subset]} ({split})")


def vggsound(files: Files) -> Items:
    """The one table of all clips, or the lists of the two splits."""

    def of_table(row: dict[str, str]) -> ManifestRow:
        if row["split"] not in ("train", "test"):
            raise SeehearError(f"split {row['split']!r} is neither train nor test")
        video, start, label = given(row, "youtube_id"), number(row, "start_seconds"), given(row, "label")
        return _ten_seconds((video, start), row["split"], (label,), {})

    def of_list(split: str, row: dict[str, str]) -> ManifestRow:
        return _ten_seconds(_clip_of(given(row, "file")), split, (given(row, "label"),), {})

    if (table := files.find("vggsound.csv")) is not None:
        records = read_table(table, ("youtube_id", "start_seconds", "label", "split"), first=())
        yield from files.rows(table, records, of_table)
        return
    names = {split: (f"{split}.csv", f"vggsound_{split}.csv") for split in ("train", "test")}
    yield from files.rows_of_splits(names, ("file", "label"), of_list, first=())


def _clip_of(name: str) -> tuple[str, float]:
    """'glLQrEijrKg_000300.mp4' -> ('glLQrEijrKg', 300.0)"""
    found = _VGGSOUND.fullmatch(name)
    if found is None:
        raise SeehearError(f"{name!r} is no clip: expected ID_START, as in glLQrEijrKg_000300")
    return found[1], float(found[2])


def _ten_seconds(clip: tuple[str, float], split: str, labels: tuple[str, ...], meta: dict[str, str]) -> ManifestRow:
    """Item of the ten seconds of a video that begin at a time: (video, seconds)."""
    video, start = clip
    times = (start, start + _CLIP_SECONDS)
    return youtube_clip(video, f"{video}_{start:06.0f}", split, times, meta=meta, labels=labels)


def vggsounder(files: Files) -> Items:
    """Clips with several labels, each audible (A), visible (V) or both (AV); consecutive rows are one clip."""
    path = files.need("vggsounder.csv")
    columns = ("video_id", "label", "modality", "background_music", "static_image", "voice_over")

    def item(row: dict[str, str]) -> ManifestRow:
        labels, modalities = row["label"].split("|"), row["modality"].split("|")
        if not set(modalities) <= {"A", "V", "AV"}:
            raise SeehearError(f"modality {row['modality']!r} is none of A, V and AV")
        heard = [label for label, kind in zip(labels, modalities, strict=True) if "A" in kind]
        seen = [label for label, kind in zip(labels, modalities, strict=True) if "V" in kind]
        meta = {name: row[name] for name in ("background_music", "static_image", "voice_over")}
        meta |= {"heard": "|".join(heard), "seen": "|".join(seen)}
        return _ten_seconds(_clip_of(given(row, "video_id")), "test", tuple(labels), meta)

    yield from files.rows(path, _clips(read_table(path, columns)), item)


def _clips(records: Iterable[Record]) -> Iterator[Record]:
    """Rows of each clip joined into one, with the line of the first."""
    numbered = ((line, row, row if isinstance(row, SeehearError) else row["video_id"]) for line, row in records)
    for _, group in groupby(numbered, key=itemgetter(2)):
        rows = list(group)
        line, first, _ = rows[0]
        if isinstance(first, SeehearError):
            yield line, first
            continue
        good = [row for _, row, _ in rows if isinstance(row, dict)]
        joined = {name: "|".join(row[name] for row in good) for name in ("label", "modality")}
        yield line, first | joined


# Official splits of UCF101 and HMDB51.
_LISTS = 3


def kinetics(files: Files, *, size: str) -> Items:
    spellings = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
    heads = (f"kinetics-{size}_", f"kinetics{size}_", f"kinetics_{size}_", f"k{size}_", "")
    names = {split: tuple(f"{h}{name}.csv" for h in heads for name in own) for split, own in spellings.items()}
    columns = ("youtube_id", "time_start", "time_end")

    def item(split: str, row: dict[str, str]) -> ManifestRow:
        video, (start, end) = given(row, "youtube_id"), span(row, "time_start", "time_end")
        # Test lists have none.
        labels = (row["label"],) if row.get("label") else ()
        # How downloaders of Kinetics name a file: ID_000417_000427.
        return youtube_clip(video, f"{video}_{start:06.0f}_{end:06.0f}", split, (start, end), labels=labels)

    yield from files.rows_of_splits(names, columns, item)


def ucf101(files: Files) -> Items:
    """Clips of list `fold`; their use in all three lists is in the meta: split1, split2, split3."""
    index = files.need("classInd.txt", "ucfTrainTestlist/classInd.txt")
    # Lines are '1 ApplyEyeMakeup'.
    classes = {name for _, line in words(index) for name in line.split()[1:]}
    names = {(n, split): f"{split}list{n:02d}.txt" for n in range(1, _LISTS + 1) for split in ("train", "test")}
    paths = {key: files.find(name, f"ucfTrainTestlist/{name}") for key, name in names.items()}
    lists = {key: path for key, path in paths.items() if path is not None}
    if not lists:
        raise files.expected()
    uses: dict[str, dict[str, str]] = {}
    for (fold, split), path in lists.items():
        for _, line in words(path):
            uses.setdefault(line.split()[0], {})[f"split{fold}"] = split
    # Fold 0 reads the first list: each of the three has all clips, by training and test together.
    fold = files.options.fold or 1
    if not any(listed == fold for listed, _ in lists):
        raise SeehearError(f"{files.root}: neither trainlist{fold:02d}.txt nor testlist{fold:02d}.txt exists")

    def item(split: str, row: dict[str, str]) -> ManifestRow:
        # 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1'; test lists have no number.
        clip = row["line"].split()[0]
        name, stem = PurePosixPath(clip).parent.name, PurePosixPath(clip).stem
        if name not in classes:
            raise SeehearError(f"{clip!r} is of no class of classInd.txt")
        # Clips c01, c02, ... of a group are cut from one recording.
        group = stem.rpartition("_c")[0] or stem
        labels, meta = (spaced(name),), {"class": name} | uses[clip]
        return whole_file(stem, split, group=group, labels=labels, meta=meta)

    for (listed, split), path in lists.items():
        if listed == fold:
            records = ((number, {"line": line}) for number, line in words(path))
            yield from files.rows(path, records, partial(item, split if files.options.fold else "train"))


# Use of a clip in a list of HMDB51: 0 unused, 1 train, 2 test.
_USES = {"0": "", "1": "train", "2": "test", "": ""}


def hmdb51(files: Files) -> Items:
    """Clips that list `fold` uses for training or test; the others are left out."""
    columns = tuple(f"split{n}" for n in range(1, _LISTS + 1))

    def item(row: dict[str, str]) -> ManifestRow | None:
        name = given(row, "video_id")
        uses = {key: row[key] for key in columns}
        if not set(uses.values()) <= set(_USES):
            raise SeehearError(f"{name}: a list says 0 (unused), 1 (train) or 2 (test); got {', '.join(uses.values())}")
        split = _USES[uses[f"split{files.options.fold}"]] if files.options.fold else "train"
        if not split:
            return None
        # MIL-NCE's table has labels as in the names of the official lists: 'brush_hair_test'.
        label, stem = row["label"].removesuffix("_test"), PurePosixPath(name).stem
        meta = {"class": label} | {key: _USES[use] for key, use in uses.items() if _USES[use]}
        # Names are MOVIE_CLASS_BODY_CAMERA_PEOPLE_VIEW_QUALITY_NUMBER: clips of one movie are one recording.
        group = stem.rpartition(f"_{label}_")[0] or stem
        labels = (spaced(label),)
        return whole_file(stem, split, group=group, labels=labels, meta=meta)

    if (table := files.find("hmdb51.csv", "hmdb51_splits.csv")) is not None:
        yield from files.rows(table, read_table(table, ("video_id", "label", *columns)), item)
        return
    lists = sorted(files.root.rglob("*_test_split1.txt"))
    if not lists:
        raise files.expected()
    for path in lists:
        yield from files.rows(path, _hmdb_rows(path), item)


def _hmdb_rows(path: Path) -> Iterator[Record]:
    """Rows of a class's first list with the clip's use in the other two; all three list the same clips."""
    label = path.name.removesuffix("_split1.txt")
    uses: list[dict[str, str]] = []
    for n in range(1, _LISTS + 1):
        own = path.with_name(f"{label}_split{n}.txt")
        lines = (line.rpartition(" ") for _, line in words(own)) if own.is_file() else ()
        # 'a clip.avi 1': names have spaces.
        uses.append({name.strip(): use for name, _, use in lines})
    for place, line in words(path):
        name = line.rpartition(" ")[0].strip()
        splits = {f"split{n}": use.get(name, "") for n, use in enumerate(uses, start=1)}
        yield place, {"video_id": name, "label": label} | splits


def ave(files: Files) -> Items:
    """Clips are whole files; the times of their events are in the meta."""
    names = {split: (f"{split}Set.txt",) for split in ("train", "val", "test")}
    columns = ("class", "video_id", "quality", "start", "end")

    def item(split: str, row: dict[str, str]) -> ManifestRow:
        video, start, end = given(row, "video_id"), number(row, "start"), number(row, "end")
        meta = {"youtube_id": video, "event_start": f"{start:g}", "event_end": f"{end:g}", "quality": row["quality"]}
        labels = (given(row, "class"),)
        return whole_file(video, split, group=video, labels=labels, meta=meta)

    # Some copies of the lists begin with the names of the columns, others with the first clip.
    yield from files.rows_of_splits(names, columns, item, delimiter="&", first=("category",))


def llp(files: Files) -> Items:
    """Clips of LLP (AVVP). Those of validation and test have timed events as JSON lists in the meta."""
    names = {"train": ("AVVP_train.csv",), "val": ("AVVP_val_pd.csv",), "test": ("AVVP_test_pd.csv",)}
    events = {f"events_{m}": _events(files, f"AVVP_eval_{name}.csv") for m, name in _EVENTS.items()}

    def item(split: str, row: dict[str, str]) -> ManifestRow:
        name = given(row, "filename")
        # '4YdbENYcIyE_23_33': seconds 23 to 33 of a video.
        # From the right: ids of YouTube may hold underscores.
        video, *times = name.rsplit("_", 2)
        if len(times) != 2:
            raise SeehearError(f"{name!r} is no clip: expected ID_START_END, as in 4YdbENYcIyE_23_33")
        start, end = (number({"filename": time}, "filename") for time in times)
        meta = {key: json.dumps(clips[name]) for key, clips in events.items() if name in clips}
        labels = tuple(label.strip().replace("_", " ") for label in given(row, "event_labels").split(","))
        return youtube_clip(video, name, split, (start, end), meta=meta, labels=labels)

    yield from files.rows_of_splits(names, ("filename", "event_labels"), item, delimiter="\t")


_EVENTS = {"heard": "audio", "seen": "visual"}


def _events(files: Files, name: str) -> dict[str, list[tuple[float, float, str]]]:
    """(onset, offset, label) of each event, by clip."""
    path = files.find(name)
    found: dict[str, list[tuple[float, float, str]]] = {}
    if path is None:
        return found
    for line, row in read_table(path, ("filename", "onset", "offset", "event_labels"), delimiter="\t"):
        try:
            if isinstance(row, SeehearError):
                raise row
            event = (number(row, "onset"), number(row, "offset"), given(row, "event_labels"))
            found.setdefault(row["filename"], []).append(event)
        except SeehearError as error:
            files.notes.append(f"left out: {files.table(path)}:{line}: {error}")
    return found
