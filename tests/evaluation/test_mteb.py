"""The adapter without MTEB: media reach the space without loss. With it (`pip install mteb`): its tasks on data made
here give the numbers that our own measures give."""

import warnings

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.evaluation.classify import zero_shot
from seehear.evaluation.mteb_adapter import MTEBModel
from seehear.evaluation.retrieval import retrieval
from seehear.media.files import VideoSpec, probe, read_window
from seehear.space import SharedSpace
from seehear.space.items import Items

DIM = 8
RATE = 16_000


class Space:
    """Reads the files it is given: the colour of a picture or film, the loudness of a sound, a number in a text; that
    many times round a circle, and noise in the other dimensions."""

    fingerprint, dim, modalities = "0123456789abcdef", DIM, ("video", "image", "audio", "text")
    similarity = staticmethod(SharedSpace.similarity)
    similarity_pairwise = staticmethod(SharedSpace.similarity_pairwise)

    def __init__(self):
        self.seen = []

    def parameters(self):
        return [torch.zeros(3, 5)]

    def encode(self, items):
        with Items(dict.fromkeys(("video", "audio", "text"))) as reading:
            return np.stack([self.one(reading.samples(item, "")) for item in items])

    def one(self, samples):
        values = []
        for m, sample in samples.items():
            if m == "text":
                values.append(float(sample.text.split()[-1]))
                continue
            specs = {"rate": RATE} if m == "audio" else {"video": VideoSpec()}
            window = read_window(sample.path, 0.0, probe(sample.path).duration, **specs)
            self.seen.append(window.waveform if m == "audio" else window.frames)
            values.append(float(np.abs(window.waveform).max() if m == "audio" else window.frames[..., 0].mean() / 255))
        z = np.random.default_rng(int(1e5 * np.mean(values))).normal(size=DIM) * 0.25
        angle = 2 * np.pi * np.mean(values)
        z[:2] += np.cos(angle), np.sin(angle)
        return (z / np.linalg.norm(z)).astype(np.float32)


def image(red):
    from PIL import Image

    return Image.fromarray(np.full((12, 16, 3), [red, 40, 90], np.uint8))


def sound(peak, seconds=0.5):
    t = np.arange(int(seconds * RATE)) / RATE
    return {"array": (peak * np.sin(2 * np.pi * 440 * t)).astype(np.float32), "sampling_rate": RATE}


def test_media_reach_the_space_without_loss():
    space = Space()
    model = MTEBModel(space)
    assert model.encode([{"image": [image(100), image(200)]}, {"image": [image(50)]}]).shape == (3, DIM)
    assert [int(f[0, 0, 0, 0]) for f in space.seen] == [100, 200, 50]
    given = sound(0.7)
    model.encode([{"audio": [given]}])
    np.testing.assert_allclose(space.seen[-1], given["array"], atol=1e-6)
    film = torch.randint(0, 256, (6, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model.encode([{"video": [film]}])
    np.testing.assert_array_equal(space.seen[-1], film.permute(0, 2, 3, 1).numpy())
    assert model.encode([]).shape == (0, DIM)


def test_stereo_and_files_are_taken_too(tmp_path):
    space = Space()
    stereo = {"array": np.stack([np.full(RATE, 0.2), np.full(RATE, 0.6)]), "sampling_rate": RATE}
    MTEBModel(space).encode([{"audio": [stereo]}])
    np.testing.assert_allclose(space.seen[-1], 0.4, atol=1e-6)
    image(120).save(tmp_path / "a.png")
    MTEBModel(space).encode([{"image": [{"path": str(tmp_path / "a.png"), "bytes": None}]}])
    assert int(space.seen[-1][0, 0, 0, 0]) == 120


def test_a_task_the_space_cannot_do_is_told():
    space = Space()
    space.modalities = ("text",)
    with pytest.raises(SeehearError, match="the task gives image, the space has text"):
        MTEBModel(space).encode([{"image": [image(1)]}])
    with pytest.raises(SeehearError, match="frames, 3, height, width"):
        MTEBModel(Space()).encode([{"video": [np.zeros((2, 4, 4))]}])


def test_similarities():
    model = MTEBModel(Space())
    a, b = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [5.0, 0.0]])
    np.testing.assert_allclose(model.similarity(a, b), [[0.8, 0.6], [0.0, 1.0]], atol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(a, b), [0.8, 1.0], atol=1e-6)


# -- with mteb -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mteb():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("mteb")


def metadata(mteb, name, kind, category, modalities):
    return mteb.TaskMetadata(
        name=name,
        dataset={"path": "local/none", "revision": "0"},
        description="made here",
        reference=None,
        type=kind,
        category=category,
        modalities=modalities,
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10" if "Retrieval" in kind else "accuracy",
        date=("2020-01-01", "2020-01-02"),
        domains=["Web"],
        task_subtypes=[],
        license="cc0-1.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )


def run(mteb, model, task):
    result = mteb.evaluate(model, [task], cache=None, encode_kwargs={"batch_size": 8}, show_progress_bar=False)
    return result.task_results[0].scores["test"][0]


@pytest.mark.filterwarnings("ignore")
def test_mteb_retrieval_gives_our_numbers(mteb):
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval

    reds = np.linspace(10, 240, 40).astype(int)

    class Task(AbsTaskRetrieval):
        def load_data(self, **kwargs):
            corpus = Dataset.from_dict({"id": [f"d{i}" for i in range(40)], "image": [image(int(r)) for r in reds]})
            queries = Dataset.from_dict(
                {"id": [f"q{i}" for i in range(40)], "text": [f"red {r / 255:.4f}" for r in reds]}
            )
            truth = {f"q{i}": {f"d{i}": 1} for i in range(40)}
            split = {"corpus": corpus, "queries": queries, "relevant_docs": truth, "top_ranked": None}
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

    Task.metadata = metadata(mteb, "LocalImages", "Any2AnyRetrieval", "t2i", ["text", "image"])
    space = Space()
    theirs = run(mteb, MTEBModel(space), Task())
    query = space.encode([{"text": f"red {r / 255:.4f}"} for r in reds])
    gallery = MTEBModel(space).encode([{"image": [image(int(r)) for r in reds]}])
    ours = retrieval(query, gallery, range(40), range(40)).metrics
    assert 0.2 < ours["nDCG@10"] < 0.95
    assert theirs["ndcg_at_10"] == pytest.approx(ours["nDCG@10"], abs=1e-5)
    assert theirs["recall_at_10"] == pytest.approx(ours["R@10"], abs=1e-5)
    assert theirs["mrr_at_1000"] == pytest.approx(ours["MRR"], abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_mteb_zero_shot_of_sounds_gives_our_numbers(mteb):
    from datasets import Dataset
    from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification

    names = [f"loud {p}" for p in (0.1, 0.3, 0.5, 0.7)]
    label = np.arange(40) % 4
    sounds = [sound(0.1 + 0.2 * c + 0.001 * i, seconds=0.2) for i, c in enumerate(label)]

    class Task(AbsTaskZeroShotClassification):
        input_column_name = "audio"

        def load_data(self, **kwargs):
            rows = {"audio": [{**s, "array": s["array"].tolist()} for s in sounds], "label": label.tolist()}
            self.dataset, self.data_loaded = {"default": {"test": Dataset.from_dict(rows)}}, True

        def get_candidate_labels(self):
            return names

    Task.metadata = metadata(mteb, "LocalSounds", "AudioZeroshotClassification", "a2t", ["audio", "text"])
    space = Space()
    theirs = run(mteb, MTEBModel(space, "me/space"), Task())
    vectors = MTEBModel(space).encode([{"audio": sounds}])
    ours = zero_shot(vectors, space.encode([{"text": n} for n in names]), [names[c] for c in label], names)
    assert ours.metrics["top1"] > 0.4
    assert theirs["accuracy"] == pytest.approx(ours.metrics["top1"])


def test_what_mteb_is_told_of_the_model(mteb):
    meta = MTEBModel(Space(), "me/space").mteb_model_meta
    assert (meta.name, meta.revision, meta.embed_dim) == ("me/space", "0123456789abcdef", DIM)
    assert meta.modalities == ["text", "image", "audio", "video"]
    assert (meta.n_parameters, meta.open_weights, meta.license) == (15, True, None)
