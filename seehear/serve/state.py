"""State of a running server: the library's runs, the decoding processes, the cache on disk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, Request

from seehear.errors import DecodeError, SeehearError
from seehear.folders.indexes import asked_together
from seehear.folders.standing import Standing
from seehear.library.tables import Clip, LibraryTables
from seehear.library.transcripts import as_edited
from seehear.library.workers import WorkerDied
from seehear.media.encoding import write_preview
from seehear.search.background import Calibration
from seehear.search.behind import behind
from seehear.search.calibrate import in_words
from seehear.search.filters import Filters
from seehear.search.index import versions
from seehear.serve import decoders, maps, schema, views
from seehear.serve.config import ServeConfig
from seehear.serve.decoders import Decoders
from seehear.serve.files import DiskCache, clip_of, write
from seehear.serve.learning import LibraryLearning
from seehear.serve.maps import SOUNDS, things, things_in
from seehear.serve.problems import Problem
from seehear.serve.runs import OpenRun, Runs, broken
from seehear.serve.upkeep import Applying, CatchUp
from seehear.serve.uploads import Uploads

_DRAW_SECONDS = 300.0
_WARM_SECONDS = 20.0
# Shortest preview in seconds: one frame
_LEAST = 0.04
_RUN = ("modalities", "dim", "recall")


class State:
    def __init__(
        self,
        library: str,
        config: ServeConfig,
        progress: Callable[[], Standing] | None = None,
        edited: Callable[[], None] | None = None,
    ):
        """`progress`: progress of this process's indexing, if it does any. `edited`: wakes that work when the user has
        changed a text or label."""
        self.config, self.progress, self.edited = config, progress, edited
        # Previews and maps take long: posters and waveforms must not wait behind them.
        self.quick = Decoders(2, config.decode_seconds)
        self.slow = Decoders(1, _DRAW_SECONDS, patience=60.0)
        self.runs = Runs(library, self.quick, media=config.media, device=config.device)

        def renew() -> None:
            self.runs.renew()
            if self.edited:
                self.edited()

        self.own = Applying(library, renew)
        self.uploads = Uploads(self.quick, megabytes=config.upload_mb, seconds=config.upload_seconds)
        self.cache = DiskCache(config.cache_folder(library), config.cache_mb)
        self.learning = LibraryLearning(self.runs, self.cache)
        self.background = ThreadPoolExecutor(1, "seehear")
        """Thread for work that no answer waits for; long jobs check `closing` regularly."""
        self.closing = threading.Event()
        self._facets: tuple[int, Any] = (-1, {})  # (version of `clips`, facets)
        self._behind: dict[str, tuple[Any, str]] = {}
        self.catch_up = None if progress else CatchUp(self.runs, self._behind_of)

    def warm(self) -> None:
        """Opens the indexes in the background, so that the first search is fast."""

        def first_search() -> None:
            # Whatever fails here, the user's first search reports.
            with suppress(Exception):
                self.runs.together().search.search("a", k=1)

        self._warming = threading.Thread(target=first_search, daemon=True)
        self._warming.start()
        if self.catch_up:
            self.catch_up.start()

    def close(self) -> None:
        self.learning.close()  # first: a training needs time to save its state
        if self.catch_up:
            self.catch_up.close()
        self.closing.set()
        self.background.shutdown(cancel_futures=True)
        self.quick.close()
        self.slow.close()
        # Their temporary folder is deleted after the decoders that read in it.
        self.uploads.close()
        self.own.close()
        # A thread that still runs C++ code when the interpreter ends aborts the process.
        self._warming.join(timeout=_WARM_SECONDS)

    # -- the library --------------------------------------------------------------------------------------------------

    def status(self) -> schema.Status:
        library, about = self.runs.library, self.runs.about()
        # Counting reads all clips, and the page asks for the status every few seconds.
        version = library.table("clips").version
        if self._facets[0] != version:
            self._facets = version, views.facets(library)
        clips, together, titles = library.count_clips(), asked_together(about), views.titles(about)
        runs = [
            schema.RunView(
                name=n,
                title=titles[n],
                made=a.get("made", ""),
                together=n in together,
                behind="" if self.progress else self._behind_of(n, a, library),
                **{k: a[k] for k in _RUN},
            )
            for n, a in about.items()
        ]
        problem = None
        if self.progress is not None and not (clips and runs):
            problem = self._not_yet()
        elif not clips:
            todo = f"seehear prepare FOLDER --library {library.uri}"
            problem = Problem(409, "empty", "the library has no clips yet: give it a folder of media", todo)
        elif not runs:
            # The refusal of a search says what to do.
            try:
                self.runs.together()
            except Problem as unusable:
                problem = unusable
        return schema.Status(
            library=library.uri,
            clips=clips,
            runs=runs,
            upload_mb=self.config.upload_mb,
            problem=problem and problem.plain(),  # type: ignore[arg-type]  # made a ProblemAnswer
            **self._facets[1],
        )

    @staticmethod
    def _not_yet() -> Problem:
        return Problem(409, "indexing", "nothing can be searched yet: the folder is being indexed")

    def _behind_of(self, name: str, about: Mapping[str, Any], library: LibraryTables) -> str:
        """The line of `behind`, cached until the index or the library is written: counting reads whole tables."""
        key = about.get("changed"), about.get("made"), versions(library), library.table("rejects").version
        if self._behind.get(name, (None, ""))[0] != key:
            self._behind[name] = key, behind(library, name)
        return self._behind[name][1]

    def standing(self) -> schema.ProgressView | None:
        """Progress of the indexing, by this process or by catching up; None if idle."""
        if self.progress:
            return views.progress_view(self.progress())
        if self.catch_up and (line := self.catch_up.line):
            return views.progress_view(Standing(step=line))
        return None

    def clip(self, name: str) -> Clip:
        """The clip of an id. Raises `Problem` (404) if there is none."""
        return clip_of(self.runs.library, name)

    def views(self, ids: list[str]) -> list[schema.ClipView]:
        """Views of the clips that still exist, in the order of `ids`."""
        clips, folders = maps.clips_in_order(self.runs.library, ids), self.runs.folders
        present = as_edited(self.runs.library, [clip for clip in clips if clip is not None])
        return [views.clip_view(clip, folders) for clip in present]

    def file(self, clip: Clip, modality: str) -> Path:
        return self.runs.folders.file(clip, modality)

    def opened(self, run: str) -> Sequence[OpenRun]:
        """One index by name, or all that are searched together."""
        return [self.runs.get(run)] if run else self.runs.together().runs

    # -- searching ---------------------------------------------------------------------------------------------------

    def search(self, query: schema.Query) -> schema.SearchAnswer:
        began = time.perf_counter()
        wanted = query.filters.model_dump()
        filters = Filters(**(wanted | {"labels": tuple(wanted["labels"]), "splits": tuple(wanted["splits"])}))
        answer = self._one_index(query, filters) if query.run else self._together(query, filters)
        answer.milliseconds = 1e3 * (time.perf_counter() - began)
        return answer

    def _together(self, query: schema.Query, filters: Filters) -> schema.SearchAnswer:
        try:
            opened = self.runs.together()
        except Problem as problem:
            # An index whose calibration is still being written is 'indexing' too: no command is needed.
            raise self._not_yet() if self.progress and problem.status == 409 else problem from problem
        clips, parts = opened.search.clips, []
        for part in query.parts:
            asked: dict[str, Any] = part.model_dump(exclude={"modality", "weight"}) | {"weight": part.weight}
            if isinstance(part, schema.UploadPart):
                asked["vectors"] = self.uploads.get(part.upload, opened.runs).vectors(part.modality or "")
            elif isinstance(part, schema.ClipPart) and part.clip not in clips:
                raise Problem(404, "no_clip", f"the library has no clip {part.clip!r}")
            parts.append(asked)
        answer = opened.search.search(
            parts, k=query.k, kinds=query.kinds, filters=filters, fulltext=query.fulltext, by=query.by
        )
        folders, films = self.runs.folders, answer.films if query.by == "film" else None
        seconds = opened.library.seconds_of([film.source for film in films or ()])
        return schema.SearchAnswer(
            run="",
            query=answer.query,
            words=answer.words,  # type: ignore[arg-type]  # one of the four
            hits=[] if films else [views.moment_view(hit, clips[hit.clip], folders) for hit in answer.hits],
            films=None
            if films is None
            else [views.film_view(f, clips[f.hits[0].clip], folders, seconds.get(f.source)) for f in films],
            indexed=answer.indexed,
            clips=answer.clips,
            milliseconds=0.0,
        )

    def _one_index(self, query: schema.Query, filters: Filters) -> schema.SearchAnswer:
        if query.by == "film":
            raise Problem(422, "by", "one index alone gives moments: ask for films without a run")
        run = self.runs.get(query.run)
        parts = [self._part(part, run) for part in query.parts]
        modalities = [m for m in query.modalities if m in run.space.modalities]
        if query.modalities and not modalities:
            raise Problem(422, "no_such_modality", f"run {run.name} has {', '.join(run.space.modalities)}")
        ranked = run.searcher.search(parts, k=query.k, modalities=modalities, filters=filters, hybrid=query.hybrid)
        folders, about = self.runs.folders, self.runs.about().get(run.name, {})
        words_alone = [part.weight > 0 and isinstance(part, schema.TextPart) for part in query.parts] == [True]
        # In an approximate index the calibration would read the index again for every hit.
        calibrated = words_alone and not query.hybrid and about.get("recall") is None
        calibration = Calibration(about if calibrated else {})
        text_E, gallery = parts[0].get("vector"), run.searcher.gallery
        hits = [views.hit_view(hit, folders, calibration.of_hit(hit, gallery, text_E)) for hit in ranked]
        sures = [hit.confidence for hit in hits if hit.confidence is not None]
        words: Any = in_words(max(sures)) if sures else None
        asked = " + ".join(str(next(iter(part.model_dump(exclude={"weight"}).values()))) for part in query.parts)
        return schema.SearchAnswer(run=run.name, query=asked, words=words, hits=hits, milliseconds=0.0)

    def _part(self, part: schema.TextPart | schema.ClipPart | schema.UploadPart, run: OpenRun) -> dict[str, Any]:
        if isinstance(part, schema.TextPart):
            return {"text": part.text, "vector": run.encode_text(part.text), "weight": part.weight}
        if isinstance(part, schema.UploadPart):
            vector = self.uploads.get(part.upload, [run]).vector(run.name, part.modality or "")
            return {"vector": vector, "weight": part.weight}
        if not run.searcher.gallery.vectors_of(part.clip):
            raise Problem(404, "no_clip", f"run {run.name} has no clip {part.clip!r}")
        return {"clip": part.clip, "weight": part.weight}

    # -- pictures and sound ------------------------------------------------------------------------------------------

    def poster(self, clip: Clip, at: float | None) -> Path:
        path = self.file(clip, "video")
        first, last = (0.0, 0.0) if views.is_still(clip) else (clip.start, clip.end)
        at = (first + last) / 2 if at is None or not first <= at < last else at
        return self.made(path, "poster", at, lambda out: write(out, self.quick(decoders.poster, str(path), at, last)))

    def peaks(self, clip: Clip) -> schema.Peaks:
        levels = self.measured(self.file(clip, "audio"), decoders.peaks, clip.start, clip.end)
        return schema.Peaks(start=clip.start, end=min(clip.end, clip.start + decoders.PEAKS_SECONDS), peaks=levels)

    def preview(self, clip: Clip, start: float | None, end: float | None) -> Path:
        """The clip, or from `start` to `end` of its file, as MP4 that every browser plays."""
        start, end = clip.start if start is None else start, clip.end if end is None else end
        still = views.is_still(clip)
        video = str(self.file(clip, "video")) if clip.has_video and not still else ""
        audio = str(self.file(clip, "audio")) if clip.has_audio else ""
        end = min(end, start + self.config.preview_seconds)
        if not (end - start >= _LEAST and start < clip.end and end > clip.start and (video or audio)):
            raise Problem(404, "no_media", f"clip {clip.id!r} has nothing to play")

        def make(out: Path) -> None:
            self.slow(write_preview, video, audio, start, end, str(out))

        return self.made(Path(video or audio), "preview", (audio, start, end), make)

    def made(self, path: Path, what: str, key: Any, make: Callable[[Path], None]) -> Path:
        """Cached file that `make` writes from a media file."""
        # Keyed by size and time too, so that a replaced file is read again.
        stat = path.stat()
        try:
            return self.cache.get(what, str(path), stat.st_size, stat.st_mtime_ns, key, make=make)
        except (DecodeError, WorkerDied) as error:
            raise broken(error, path, f"{path.name} cannot be read") from error

    def measured(self, path: Path, measure: Callable[..., Any], *about: float) -> Any:
        """Cached JSON value of `measure`, which a decoding process computes from a media file and `about`."""

        def make(out: Path) -> None:
            write(out, json.dumps(self.quick(measure, str(path), *about)).encode())

        return json.loads(self.made(path, measure.__name__, about, make).read_text(encoding="utf-8"))

    # -- the map -----------------------------------------------------------------------------------------------------

    def map(self, name: str, method: str) -> schema.MapView:
        run = self.runs.get(name)
        library = self.runs.library
        version = library.table("clips").version

        def make() -> dict[str, Any]:
            ids, vectors_NE = maps.clip_vectors(library, run.name, maps.MOST[method])
            clips = maps.clips_in_order(library, ids)
            xy, clusters = self.slow(maps.project, vectors_NE, method) if ids else (np.zeros((0, 2)), np.zeros(0))
            of = {clip: int(cluster) for clip, cluster in zip(ids, clusters, strict=True)}
            return maps.draw(ids, clips, xy, clusters, self._things_found(library, run, of, method))

        # Everything that the drawing depends on.
        where = (self.runs.uri, run.name, run.changed, run.space.fingerprint, version, method)
        try:
            drawn = self.cache.value("map of named groups", *where, make=make)
        except WorkerDied as error:
            raise Problem(503, "map", f"the map could not be drawn: {error}", "ask for pca") from error
        return schema.MapView(run=run.name, method=method, total=library.count_clips(), **drawn)  # type: ignore[arg-type]

    def _things_found(
        self, library: LibraryTables, run: OpenRun, clusters: Mapping[str, int], method: str
    ) -> dict[int, list[str]]:
        """Names of things seen in each cluster, else of sounds heard, if the run compares these with words."""
        calibration, found = Calibration(self.runs.about().get(run.name, {})), dict[int, list[str]]()
        if "text" not in run.space.modalities:
            return {}
        for kind, modality, names in (("seen", "video", things()), ("heard", "audio", SOUNDS)):
            rows = f"modality = '{modality}'"
            ids, vectors_NE = maps.clip_vectors(library, run.name, maps.MOST[method], rows)
            of_N = np.array([clusters.get(i, -1) for i in ids], np.int64)
            known_N = of_N >= 0
            if kind not in calibration.scales or not known_N.any():
                continue
            try:
                own = things_in(vectors_NE[known_N], of_N[known_N], names, run.space.encode_query, calibration, kind)
            except SeehearError:
                # No encoder of words on this machine: the map is drawn without such names.
                return {}
            found |= {cluster: named for cluster, named in own.items() if not found.get(cluster)}
        return found


def _state(request: Request) -> State:
    return request.app.state.seehear


ServerState = Annotated[State, Depends(_state)]
"""Parameter of a route: the state of its server."""
