"""Published numbers of the named protocols, each with where it is printed and how it was seen.

In per cent and ranks, as papers print them. Nothing here was measured by seehear.
"""

from __future__ import annotations

from dataclasses import dataclass

TAGS = {
    "paper": "read in the source's own text or tables",
    "code": "read in the source's public code, README or logs",
    "secondary": "seen only as quoted by a later paper, a leaderboard or another repository",
    "recalled": "from memory of the source, not checked against it: a hint, not a reference",
}


@dataclass(frozen=True)
class PublishedNumber:
    method: str
    values: dict[str, float]
    """By metric, with the direction where there are two: {"text->audio R@1": 43.1}."""
    source: str
    """The paper (arXiv number) or repository that prints it."""
    tag: str
    """How it was seen, one of `TAGS`."""
    note: str = ""

    def __post_init__(self) -> None:
        if self.tag not in TAGS:
            raise ValueError(f"tag must be one of {', '.join(TAGS)}; got {self.tag!r}")


_FUSEMIX, _MCN, _VATT, _MAVIL = "2312.10144", "2104.12671", "2104.11178", "2212.08071"
_CLIP, _ALIGN, _SAIL, _FREEZE_ALIGN = "2103.00020", "2102.05918", "2412.04616", "2409.19425"
_KOEPKE, _AUDIOMAE, _CAVMAE, _AVMAE = "2112.09418", "2207.06405", "2210.07839", "2212.05922"
_HT100M, _CROSSTASK, _ACTBERT, _SSB = "1906.03327", "1903.08225", "2011.07231", "2010.02824"
_EAO, _TACO = "2112.04446", "2108.09980"
_MILNCE = "github.com/antoine77340/MIL-NCE_HowTo100M"


def _both(names: tuple[str, str], first: tuple[float, ...], second: tuple[float, ...]) -> dict[str, float]:
    """R@1, or R@1, R@5 and R@10, of two directions."""
    return {
        f"{name} R@{k}": value
        for name, values in zip(names, (first, second), strict=True)
        for k, value in zip((1, 5, 10), values, strict=False)
    }


def _images(to_text: tuple[float, ...], to_image: tuple[float, ...]) -> dict[str, float]:
    return _both(("image->text", "text->image"), to_text, to_image)


def _recalls(name: str, *values: float) -> dict[str, float]:
    return {f"{name} R@{k}": value for k, value in zip((1, 5, 10), values, strict=True)}


def _fused(
    metric: str, *, audio: float | None = None, video: float | None = None, both: float | None = None
) -> dict[str, float]:
    named = {"audio": audio, "video": video, "audio+video": both}
    return {f"{name} {metric}": value for name, value in named.items() if value is not None}


def _top(*values: float) -> dict[str, float]:
    return {f"top{k}": value for k, value in zip((1, 5), values, strict=False)}


def _linear(method: str, **values: float) -> dict[str, PublishedNumber]:
    """Rows of VATT's table of linear probes, which quotes the others."""
    return {name: PublishedNumber(method, {"top1": v}, _VATT, "paper", "linear probe") for name, v in values.items()}


_PROBES = [
    _linear("MIL-NCE", ucf101=83.4, hmdb51=54.8),
    _linear("XDC", esc50=84.8),
    _linear("AVTS", esc50=82.3),
    _linear("ELo", hmdb51=64.5),
    _linear("AVID", esc50=89.2),
    _linear("GDT", esc50=88.5),
    _linear("MMV", ucf101=91.8, hmdb51=67.1, esc50=88.9),
    _linear("VATT-Medium, SVM", ucf101=89.2, hmdb51=63.3, esc50=82.5),
    _linear("VATT-Medium, low-rank classifier", ucf101=89.6, hmdb51=65.2, esc50=84.7),
    _linear("VATT-MA-Medium, low-rank classifier", ucf101=84.4, hmdb51=63.1, esc50=81.2),
]


def _probes(name: str) -> tuple[PublishedNumber, ...]:
    return tuple(row[name] for row in _PROBES if name in row)


def _zero_shot_video(method: str, r10: float, rank: float) -> PublishedNumber:
    values = {"text->video R@10": r10, "text->video median_rank": rank}
    return PublishedNumber(method, values, _VATT, "paper", "zero-shot")


def _steps(method: str, recall: float, source: str, tag: str = "secondary") -> PublishedNumber:
    note = "weakly supervised" if source == _CROSSTASK else "zero-shot; which mean is not said"
    return PublishedNumber(method, {"recall": recall}, source, tag, note)


def _kinetics(*rows: tuple[str, float, float]) -> tuple[PublishedNumber, ...]:
    """Rows of VATT's table of fine-tuned models, which quotes the others."""
    return tuple(PublishedNumber(method, _top(t1, t5), _VATT, "paper", "fine-tuned") for method, t1, t5 in rows)


PUBLISHED: dict[str, tuple[PublishedNumber, ...]] = {
    "flickr30k": (
        PublishedNumber("FuseMix, DINOv2 + BGE, 5 M pairs", _images((85.2,), (71.2,)), _FUSEMIX, "secondary"),
        PublishedNumber(
            "CLIP ViT-L/14@336, 400 M pairs", _images((88.0, 98.7, 99.4), (68.7, 90.6, 95.2)), _CLIP, "secondary"
        ),
        PublishedNumber("ALIGN, 1.8 B pairs", _images((88.6, 98.7, 99.7), (75.7, 93.8, 96.8)), _ALIGN, "secondary"),
        PublishedNumber("SAIL-L NV2, 23 M pairs", _images((87.6,), (75.7,)), _SAIL, "secondary"),
        PublishedNumber("Freeze-Align, 20 M pairs", _images((87.5,), (74.1,)), _FREEZE_ALIGN, "secondary"),
    ),
    "coco-5k": (
        PublishedNumber(
            "FuseMix, DINOv2 + BGE, 5 M pairs",
            _images((64.3,), (46.3,)),
            _FUSEMIX,
            "secondary",
            "COCO train seen",
        ),
        PublishedNumber(
            "CLIP ViT-L/14@336, 400 M pairs", _images((58.4, 81.5, 88.1), (37.8, 62.4, 72.2)), _CLIP, "secondary"
        ),
        PublishedNumber("ALIGN, 1.8 B pairs", _images((58.6, 83.0, 89.7), (45.6, 69.8, 78.6)), _ALIGN, "secondary"),
        PublishedNumber("SAIL-L NV2, 23 M pairs", _images((62.4,), (48.6,)), _SAIL, "secondary"),
        PublishedNumber("Freeze-Align, 20 M pairs", _images((60.1,), (45.1,)), _FREEZE_ALIGN, "secondary"),
    ),
    "audiocaps": (
        PublishedNumber("FuseMix, Whisper + HTS-AT, 65 K pairs", {"text->audio R@1": 43.1}, _FUSEMIX, "secondary"),
        PublishedNumber(
            "Koepke et al.", {"audio->text R@1": 39.6, "text->audio R@1": 36.1}, _KOEPKE, "secondary", "baseline"
        ),
        PublishedNumber("MAViL", {"R@1": 49.3}, _MAVIL, "secondary", "doubtful: a leaderboard, no direction said"),
    ),
    "clotho": (
        PublishedNumber("FuseMix, Whisper + HTS-AT, 65 K pairs", {"text->audio R@1": 17.6}, _FUSEMIX, "secondary"),
        PublishedNumber(
            "Koepke et al.", {"audio->text R@1": 6.3, "text->audio R@1": 6.5}, _KOEPKE, "secondary", "baseline"
        ),
        PublishedNumber("MAViL", {"R@1": 23.3}, _MAVIL, "secondary", "a leaderboard, no direction said"),
    ),
    "msrvtt-1ka": (
        PublishedNumber("MCN", _recalls("text->video", 10.5, 25.2, 33.8), _MCN, "secondary", "zero-shot, with sound"),
        PublishedNumber("Miech et al.", _recalls("text->video", 7.2, 19.2, 28.0), _HT100M, "secondary", "zero-shot"),
        PublishedNumber(
            "MIL-NCE, MCN's features", _recalls("text->video", 8.4, 23.2, 32.4), _MCN, "secondary", "zero-shot"
        ),
        PublishedNumber("ActBERT", _recalls("text->video", 8.6, 23.4, 33.1), _ACTBERT, "secondary", "zero-shot"),
        PublishedNumber("SSB", _recalls("text->video", 8.7, 23.0, 31.1), _SSB, "secondary", "zero-shot"),
        PublishedNumber("MIL-NCE I3D", _recalls("text->video", 9.4, 22.2, 30.0), _MILNCE, "secondary", "zero-shot"),
        PublishedNumber(
            "MIL-NCE S3D, batch 8192",
            _recalls("text->video", 9.9, 24.0, 32.4) | {"text->video median_rank": 29.5},
            _MILNCE,
            "code",
            "zero-shot",
        ),
        _zero_shot_video("VATT-MBS, batch 2048", 29.7, 49),
        _zero_shot_video("VATT-MBS, batch 8192", 29.2, 42),
        _zero_shot_video("VATT-MA-Medium", 23.6, 67),
        _zero_shot_video("MMV", 31.1, 38),
        PublishedNumber(
            "MAViL", {"audio->video R@1": 23.8}, _MAVIL, "secondary", "fine-tuned; believed to be of the 968 with sound"
        ),
    ),
    "youcook2-clips": (
        PublishedNumber("MCN", _recalls("text->video", 18.1, 35.5, 45.2), _MCN, "secondary", "zero-shot, with sound"),
        PublishedNumber("ActBERT", _recalls("text->video", 9.6, 26.7, 38.0), _ACTBERT, "secondary", "zero-shot"),
        PublishedNumber("MIL-NCE S3D", _recalls("text->video", 15.1, 38.0, 51.2), _MILNCE, "secondary", "zero-shot"),
        PublishedNumber(
            "Everything at once, S3D", _recalls("text->video", 19.8, 42.9, 55.1), _EAO, "secondary", "zero-shot"
        ),
        PublishedNumber("TACo", _recalls("text->video", 19.9, 43.2, 55.7), _TACO, "secondary", "zero-shot"),
        PublishedNumber(
            "MMS alone, MCN's features", {"text->video R@10": 43.7}, _MCN, "recalled", "MCN without clusters"
        ),
        _zero_shot_video("MIL-NCE S3D", 51.2, 10),
        _zero_shot_video("VATT-MBS, batch 2048", 45.5, 13),
        _zero_shot_video("VATT-MBS, batch 8192", 51.2, 10),
        _zero_shot_video("VATT-MA-Medium", 40.6, 17),
        _zero_shot_video("MMV", 45.4, 13),
    ),
    "crosstask": (
        _steps("MCN", 35.1, _MCN),
        _steps("CrossTask, weakly supervised", 31.6, _CROSSTASK),
        _steps("MIL-NCE, MCN's features", 33.2, _MCN),
        _steps("Miech et al.", 33.6, _HT100M),
        _steps("MIL-NCE I3D", 36.4, _MILNCE),
        _steps("ActBERT", 37.1, _ACTBERT),
        _steps("MIL-NCE S3D", 40.5, _MILNCE),
        _steps("ActBERT + Faster R-CNN", 41.4, _ACTBERT),
        _steps("MMS alone, MCN's features", 34.3, _MCN, "recalled"),
        _steps("Everything at once", 39.3, _EAO, "recalled"),
    ),
    "esc50": (
        *_probes("esc50"),
        PublishedNumber("MAViL", {"top1": 94.4}, _MAVIL, "secondary", "fine-tuned"),
        PublishedNumber("Audio-MAE", {"top1": 94.1}, _AUDIOMAE, "recalled", "fine-tuned"),
    ),
    "ucf101": _probes("ucf101"),
    "hmdb51": _probes("hmdb51"),
    "speech-commands": (PublishedNumber("Audio-MAE", {"top1": 98.3}, _AUDIOMAE, "recalled", "fine-tuned, 35 words"),),
    "audioset-20k": (
        PublishedNumber("MAViL", _fused("mAP", audio=41.8, both=44.9), _MAVIL, "secondary", "fine-tuned"),
        PublishedNumber("MAViL", _fused("mAP", video=24.8), _MAVIL, "recalled", "fine-tuned"),
        PublishedNumber(
            "CAV-MAE scale+",
            _fused("mAP", audio=37.7, video=19.8, both=42.0),
            _CAVMAE,
            "code",
            "fine-tuned; 42.2 in its logs",
        ),
        PublishedNumber("Audio-MAE", _fused("mAP", audio=37.0), _AUDIOMAE, "code", "fine-tuned"),
    ),
    "audioset": (
        PublishedNumber("MAViL", _fused("mAP", both=53.3), _MAVIL, "paper", "fine-tuned; 53.1 in version 2"),
        PublishedNumber("MAViL", _fused("mAP", audio=48.7), _MAVIL, "secondary", "fine-tuned"),
        PublishedNumber("MAViL", _fused("mAP", video=30.3), _MAVIL, "recalled", "fine-tuned"),
        PublishedNumber(
            "CAV-MAE scale+", _fused("mAP", audio=46.6, video=26.2, both=51.2), _CAVMAE, "code", "fine-tuned"
        ),
        PublishedNumber("AV-MAE", _fused("mAP", both=51.8), _AVMAE, "secondary", "fine-tuned"),
        PublishedNumber("AV-MAE", _fused("mAP", audio=46.6, video=31.1), _AVMAE, "recalled", "fine-tuned"),
        PublishedNumber("Audio-MAE", _fused("mAP", audio=47.3), _AUDIOMAE, "code", "fine-tuned"),
        *(
            PublishedNumber(method, {"audio mAP": m, "audio AUC": a, "audio d'": d}, _VATT, "paper", "fine-tuned")
            for method, m, a, d in (
                ("VATT-Base", 39.4, 97.1, 2.895),
                ("VATT-MA-Medium", 39.3, 97.0, 2.884),
                ("Wavegram-CNN", 38.9, 96.8, 2.612),
                ("Res1dNet31", 36.5, 95.8, 2.444),
            )
        ),
    ),
    "vggsound": (
        PublishedNumber("MAViL", _fused("top1", both=67.1), _MAVIL, "paper", "fine-tuned"),
        PublishedNumber("MAViL", _fused("top1", audio=60.8, video=50.9), _MAVIL, "recalled", "fine-tuned"),
        PublishedNumber(
            "CAV-MAE scale+", _fused("top1", audio=59.8, both=65.5), _CAVMAE, "code", "fine-tuned; 65.9 in its logs"
        ),
        PublishedNumber("AV-MAE", _fused("top1", audio=57.2, video=50.3, both=65.0), _AVMAE, "recalled", "fine-tuned"),
    ),
    "kinetics400": _kinetics(
        ("VATT-Base", 79.6, 94.9),
        ("VATT-Medium", 81.1, 95.6),
        ("VATT-Large", 82.1, 95.5),
        ("VATT-MA-Medium", 79.9, 94.9),
        ("VATT, from scratch", 26.4, 51.8),
        ("TimeSformer-L", 80.7, 94.7),
        ("X3D-XXL", 80.4, 94.6),
        ("SlowFast + NL", 79.8, 93.9),
        ("I3D", 71.1, 89.3),
    ),
    "kinetics600": _kinetics(
        ("VATT-Base", 80.5, 95.5),
        ("VATT-Medium", 82.4, 96.1),
        ("VATT-Large", 83.6, 96.6),
        ("VATT-MA-Medium", 80.8, 95.5),
        ("TimeSformer-L", 82.2, 95.6),
        ("SlowFast + NL", 81.8, 95.1),
        ("I3D", 71.9, 90.1),
    ),
    "kinetics700": (
        PublishedNumber("VATT-Large", {"top1": 72.7}, _VATT, "paper", "fine-tuned; top5 90.5 in the code's README"),
    ),
}
