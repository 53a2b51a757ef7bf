"""The table of evaluation protocols: which rows of which set, what is asked of what, what one must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seehear.evaluation.published import PUBLISHED, PublishedNumber

_RECALLS = ("R@1", "R@5", "R@10", "median_rank")
_TOP = ("top1",)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    name: str
    title: str
    importer: str
    """What `seehear import` calls the set."""
    kind: Literal["retrieval", "classification", "multilabel", "localisation"]
    queries: str
    gallery: str
    """Or the classes."""
    metrics: tuple[str, ...]
    split: str = "test"
    """'' for all of the set, where folds decide."""
    clips: tuple[int, ...] = ()
    """How many the split has; several where there are several ways to count, none when that is not fixed."""
    texts: int = 0
    """Captions of the split; 0 when that is not fixed."""
    classes: int = 0
    needs: tuple[str, ...] = ()
    """Modalities that a clip must have to take part."""
    folds: int = 0
    """Official folds or lists over which the numbers are averaged."""
    notes: tuple[str, ...] = ()
    """What makes numbers differ that look alike."""

    @property
    def published(self) -> tuple[PublishedNumber, ...]:
        return PUBLISHED.get(self.name, ())


TABLE = (
    Protocol(
        name="flickr30k",
        title="Flickr30K, 1K test",
        importer="flickr30k",
        kind="retrieval",
        queries="1,000 pictures; 5,000 captions",
        gallery="the other side, all of it",
        metrics=_RECALLS,
        clips=(1000,),
        texts=5000,
        needs=("video", "text"),
        notes=(
            "From picture to text the best placed of its five captions counts.",
            "Zero-shot only if no picture of Flickr30K was trained on; photo collections overlap, so compare hashes.",
        ),
    ),
    Protocol(
        name="coco-5k",
        title="COCO, 5K test (Karpathy)",
        importer="coco",
        kind="retrieval",
        queries="5,000 pictures; 25,010 captions",
        gallery="the other side, all of it",
        metrics=_RECALLS,
        clips=(5000,),
        texts=25_010,
        needs=("video", "text"),
        notes=(
            "Some pictures have more than five captions; papers that keep five count 25,000.",
            "The official val2017 has 5,000 pictures too, but others: it is not this test split.",
            "Numbers of 1K test are means over five parts of the gallery, and far higher.",
            "About half of Visual Genome are COCO pictures, some of them in this test split.",
        ),
    ),
    Protocol(
        name="audiocaps",
        title="AudioCaps",
        importer="audiocaps",
        kind="retrieval",
        queries="975 clips; 4,875 captions",
        gallery="the other side, all of it",
        metrics=_RECALLS,
        clips=(975,),
        texts=4875,
        needs=("audio", "text"),
        notes=(
            "Videos vanish: papers report on 957 to 975 test clips. Say how many.",
            "Version 2.0 (importer audiocaps-v2) has other captions: do not mix the two.",
        ),
    ),
    Protocol(
        name="clotho",
        title="Clotho, evaluation split",
        importer="clotho",
        kind="retrieval",
        queries="1,045 sounds; 5,225 captions",
        gallery="the other side, all of it",
        metrics=_RECALLS,
        clips=(1045,),
        texts=5225,
        needs=("audio", "text"),
        notes=(
            "Five captions a sound: text->audio has five queries a sound, audio->text takes the best placed of five.",
            "Sounds last 15 to 30 s: an encoder that hears 10 s needs several windows, and papers differ there.",
        ),
    ),
    Protocol(
        name="msrvtt-1ka",
        title="MSR-VTT, 1k-A",
        importer="msrvtt-1ka",
        kind="retrieval",
        queries="1,000 captions",
        gallery="1,000 clips, one caption each",
        metrics=_RECALLS,
        clips=(1000,),
        texts=1000,
        needs=("video", "text"),
        notes=(
            "968 of the 1,000 clips have sound. MCN counts the 32 others as failures in recall and leaves them out of "
            "the median rank; others report on 968. Say which.",
            "Zero-shot and trained on the 9K split are different tables.",
            "MCN adds the vectors of video and sound of a clip; MIL-NCE and VATT look at the video alone.",
        ),
    ),
    Protocol(
        name="msrvtt-full",
        title="MSR-VTT, full test",
        importer="msrvtt",
        kind="retrieval",
        queries="59,800 captions",
        gallery="2,990 clips",
        metrics=_RECALLS,
        clips=(2990,),
        texts=59_800,
        needs=("video", "text"),
        notes=("Three times the gallery of 1k-A, and captions that fit many clips: the two do not compare.",),
    ),
    Protocol(
        name="youcook2-clips",
        title="YouCook2, clips of the validation split",
        importer="youcook2",
        kind="retrieval",
        queries="3,350 captions",
        gallery="3,350 clips",
        metrics=_RECALLS,
        clips=(3350,),
        texts=3350,
        needs=("video", "text"),
        notes=(
            "Papers count 3,350, 3,339 (with all features), 3,320 or about 3,100 clips, by what could be downloaded.",
            "The official test split has no public captions: papers' test is the validation split.",
            "A caption may fit several clips of a recipe; the published protocol accepts only its own.",
            "MCN adds the vectors of video and sound of a clip; clips without features count as failures.",
        ),
    ),
    Protocol(
        name="crosstask",
        title="CrossTask, steps of the 18 primary tasks",
        importer="crosstask",
        kind="localisation",
        queries="the steps of a task, in their order",
        gallery="the seconds of a video: one for each step, by a dynamic program",
        metrics=("recall", "recall (pooled)"),
        needs=(),
        notes=(
            "recall: mean over a task's videos, then over tasks (MCN). recall (pooled): hits over steps of all of a "
            "task's videos, then over tasks (CrossTask's own code). The two differ slightly.",
            "A step is hit when its second lies between floor(start) and ceil(end) of one of its annotations.",
            "Which videos: CrossTask's code draws 30 a task to train on and takes the rest but videos_val.csv; here "
            "the test split is all but videos_val.csv, as nothing is trained on them.",
            "Scores are the sum of the products of a step's text with video and sound. The 3D features, and the 2D "
            "ones, are shared among the seconds by adaptive max pooling; sound is 8 s around each.",
        ),
    ),
    Protocol(
        name="esc50",
        title="ESC-50",
        importer="esc50",
        kind="classification",
        queries="2,000 sounds of 5 s",
        gallery="50 classes",
        metrics=_TOP,
        split="",
        clips=(2000,),
        classes=50,
        needs=("audio",),
        folds=5,
        notes=(
            "Mean of the five official folds, never of own ones: pieces of one recording share a fold.",
            "Train on four folds; a hyper-parameter is chosen within them (`probe_folds`), not on the test fold.",
        ),
    ),
    Protocol(
        name="esc10",
        title="ESC-10",
        importer="esc10",
        kind="classification",
        queries="400 sounds of 5 s",
        gallery="10 classes",
        metrics=_TOP,
        split="",
        clips=(400,),
        classes=10,
        needs=("audio",),
        folds=5,
        notes=("The folds of ESC-50, cut down to ten easy classes.",),
    ),
    Protocol(
        name="speech-commands",
        title="Speech Commands v0.02, 35 words",
        importer="speech-commands",
        kind="classification",
        queries="11,005 words of 1 s",
        gallery="35 words",
        metrics=_TOP,
        clips=(11_005,),
        classes=35,
        needs=("audio",),
        notes=(
            "84,843 / 9,981 / 11,005 by the lists in the archive.",
            "The task with 12 classes (ten words, silence, unknown; v0.01) is another one.",
        ),
    ),
    Protocol(
        name="audioset-20k",
        title="AudioSet, trained on 20K",
        importer="audioset-20k",
        kind="multilabel",
        queries="20,371 segments of 10 s",
        gallery="527 classes",
        metrics=("mAP", "AUC", "d'"),
        clips=(20_371,),
        classes=527,
        needs=("audio",),
        notes=(
            "mAP is the plain mean over classes of the average precision.",
            "Videos vanish: of 22,160 training and 20,371 test segments every copy has fewer. Say how many.",
            "d' is the mean over classes of sqrt(2) times the normal quantile of the class's AUC; that of the mean AUC "
            "is smaller.",
        ),
    ),
    Protocol(
        name="audioset",
        title="AudioSet, trained on 2M",
        importer="audioset",
        kind="multilabel",
        queries="20,371 segments of 10 s",
        gallery="527 classes",
        metrics=("mAP", "AUC", "d'"),
        clips=(20_371,),
        classes=527,
        needs=("audio",),
        notes=("As audioset-20k, with the unbalanced training set added.",),
    ),
    Protocol(
        name="vggsound",
        title="VGGSound",
        importer="vggsound",
        kind="classification",
        queries="15,446 clips of 10 s",
        gallery="309 classes",
        metrics=_TOP,
        clips=(15_446,),
        classes=309,
        needs=("video", "audio"),
        notes=("One label a clip, though many show or sound more: see vggsounder.", "Videos vanish: say how many."),
    ),
    Protocol(
        name="vggsounder",
        title="VGGSounder",
        importer="vggsounder",
        kind="multilabel",
        queries="the test clips of VGGSound",
        gallery="309 classes",
        metrics=("mAP", "AUC", "d'"),
        classes=309,
        needs=("video", "audio"),
        notes=(
            "Labels are of what is heard, seen or both (meta `heard`, `seen`): a model of sound alone is asked for "
            "those heard.",
        ),
    ),
    *(
        Protocol(
            name=f"kinetics{size}",
            title=f"Kinetics-{size}",
            importer=f"kinetics{size}",
            kind="classification",
            queries=f"{count:,} clips of 10 s",
            gallery=f"{size} classes",
            metrics=("top1", "top5"),
            split="val",
            clips=(count,),
            classes=int(size),
            needs=("video",),
            notes=(
                "Papers report on the validation split. It was made with 50 clips a class; videos vanish, so that "
                "every copy has fewer. Say how many.",
                "Published numbers average many windows of a clip (VATT: 4 in time, 3 in space).",
            ),
        )
        for size, count in (("400", 20_000), ("600", 30_000), ("700", 35_000))
    ),
    Protocol(
        name="ucf101",
        title="UCF101",
        importer="ucf101",
        kind="classification",
        queries="13,320 clips, by three lists",
        gallery="101 classes",
        metrics=_TOP,
        split="",
        clips=(13_320,),
        classes=101,
        needs=("video",),
        folds=3,
        notes=(
            "Mean of the three official lists; many papers, and ablations in most, give list 1 alone.",
            "Many clips have no sound.",
        ),
    ),
    Protocol(
        name="hmdb51",
        title="HMDB51",
        importer="hmdb51",
        kind="classification",
        queries="1,530 test clips a list, three lists",
        gallery="51 classes",
        metrics=_TOP,
        split="",
        clips=(6766, 5100),
        classes=51,
        needs=("video",),
        folds=3,
        notes=(
            "70 training and 30 test clips a class; a list leaves out the other 1,666 of 6,766. Import with --fold 0 "
            "for all lists at once.",
            "Mean of the three official lists; ablations often give list 1 alone.",
        ),
    ),
)
