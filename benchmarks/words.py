"""What `seehear transcribe` hears: word error rates, speed, and words where nobody speaks.

    OMP_NUM_THREADS=1 python benchmarks/words.py [--parts noise speed grid espeak] [--models tiny.en base] [--every N]
        [--data ../shared/data] [--out FILE]

`noise`: share of sounds without speech (ESC-10, the half on which the filters were not chosen) that get words.
`speed`: seconds of media for a second of one core, over the films of `home` with sound; loading the model counts.
`grid`: word error rate on every N-th clip of GRID, whose grammar no language model expects ("bin blue at f two now").
`espeak`: word error rate on sentences spoken by espeak-ng in English, German and Spanish: with the language given, and
with the language detected in the two or three seconds of each.

Word error rate: edits over the reference's words, without case and punctuation, digits as words. Results of parts that
are not run again are kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common import DEVICE, RESULTS, write

from seehear.encoders.whisper import Whisper, find_weights
from seehear.library.recordings import Recording
from seehear.library.transcribe import Transcriber
from seehear.library.transcripts import Transcript
from seehear.media.files import probe

SENTENCES = {
    "en": [
        "The weather is fine today and the children play in the garden.",
        "Please close the window before you leave the house.",
        "My brother bought a new bicycle last summer.",
        "The train to London leaves at nine in the morning.",
    ],
    "de": [
        "Das Wetter ist heute schön und die Kinder spielen im Garten.",
        "Bitte schließen Sie das Fenster bevor Sie das Haus verlassen.",
        "Mein Bruder hat im letzten Sommer ein neues Fahrrad gekauft.",
        "Der Zug nach Berlin fährt um neun Uhr am Morgen ab.",
    ],
    "es": [
        "El tiempo es bueno hoy y los niños juegan en el jardín de la casa.",
        "Por favor cierre la ventana antes de salir de la casa.",
        "Mi hermano compró una bicicleta nueva el verano pasado.",
        "El tren a Madrid sale mañana a las nueve de la mañana.",
    ],
}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def transcriber(model: str, language: str = "") -> Transcriber:
    weights = find_weights(model)
    return Transcriber(Whisper(weights, gpu=False), name=model, weights=weights.fingerprint, language=language)


def heard(reader: Transcriber, path: Path) -> Transcript | None:
    """None where there is no sound."""
    info = probe(path)
    if not info.has_audio:
        return None
    return reader(Recording(source="", path=str(path), duration=info.duration, content="", tasks=("speech",)))[0]


def words(text: str) -> list[str]:
    found = re.findall(r"[^\W\d_]+|\d", text.lower().replace("ß", "ss"))
    return [DIGITS[int(word)] if word.isdigit() else word for word in found]


def text_of(transcript: Transcript | None) -> str:
    return " ".join(line.text for line in transcript.lines) if transcript else ""


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Of (reference, what was heard)."""
    split = [(words(reference), words(hypothesis)) for reference, hypothesis in pairs]
    return round(sum(edits(a, b) for a, b in split) / sum(len(a) for a, _ in split), 4)


def noise(model: str, data: Path, every: int) -> dict[str, Any]:
    reader, with_words = transcriber(model), []
    files = sorted((data / "esc10" / "audio").iterdir())[1::2]
    for path in files:
        if text := text_of(heard(reader, path)):
            with_words.append([path.name, text])
    return {"sounds": len(files), "share_with_words": round(len(with_words) / len(files), 4), "with_words": with_words}


def speed(model: str, data: Path, every: int) -> dict[str, Any]:
    began, seconds, count = time.process_time(), 0.0, 0
    reader = transcriber(model)
    for path in sorted((data / "home" / "files").iterdir()):
        if heard(reader, path) is not None:
            seconds, count = seconds + probe(path).duration, count + 1
    cpu = time.process_time() - began
    return {"files": count, "media_s": round(seconds, 1), "cpu_s": round(cpu, 1), "times_real": round(seconds / cpu, 1)}


def grid(model: str, data: Path, every: int) -> dict[str, Any]:
    reader, folder = transcriber(model, "en"), data / "grid-s1"
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::every]
    return {
        "clips": len(rows),
        "word_error_rate": error_rate((row["text"], text_of(heard(reader, folder / row["file"]))) for row in rows),
    }


def espeak(model: str, data: Path, every: int) -> dict[str, Any]:
    program = shutil.which("espeak-ng")
    if program is None:
        return {"skipped": "apt-get install espeak-ng"}
    detecting, found = transcriber(model), {}
    with tempfile.TemporaryDirectory() as folder:
        for language in ["en"] if model.endswith(".en") else SENTENCES:
            given, pairs, alone, detected = transcriber(model, language), [], [], []
            for sentence in SENTENCES[language]:
                path = Path(folder) / "speech.wav"
                subprocess.run([program, "-v", language, "-s", "140", "-w", str(path), sentence], check=True)
                transcript = heard(detecting, path)
                alone.append((sentence, text_of(transcript)))
                pairs.append((sentence, text_of(heard(given, path))))
                detected.append(transcript.language if transcript else "")
            found[language] = {
                "word_error_rate": error_rate(pairs),
                "word_error_rate_language_detected": error_rate(alone),
                "detected": detected,
                "heard": pairs,
            }
    return found


PARTS = {"noise": noise, "speed": speed, "grid": grid, "espeak": espeak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out or RESULTS / f"words-{DEVICE.type}.json"
    results = json.loads(out.read_text()).get("results", {}) if out.exists() else {}
    for model in given.models:
        for part in given.parts:
            results.setdefault(part, {})[model] = PARTS[part](model, given.data, given.every)
            print(part, model, {k: v for k, v in results[part][model].items() if k != "with_words"}, flush=True)
            write("words", {"results": results}, out)


if __name__ == "__main__":
    main()
