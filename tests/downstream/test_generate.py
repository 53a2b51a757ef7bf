"""From a sound to a picture: the carrier, the painter of a run, pipelines of diffusers, the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from seehear import errors
from seehear.cli import main
from seehear.demo import MEDIA
from seehear.downstream import generate as pipelines
from seehear.downstream.generate import GenerateOptions, generate
from seehear.downstream.painting import (
    Carrier,
    PainterOptions,
    Placed,
    TrainingPictures,
    learn_painter,
    placed,
    to_encoder,
    to_pictures,
)
from seehear.errors import SeehearError
from seehear.evaluation.embedded import Embedded
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.clips import PrepareOptions
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables
from seehear.methods.painter import Painter, PainterConfig
from seehear.nn.unit import unit
from seehear.runs.config import LatentInputs, recipe
from seehear.runs.run import finish
from seehear.space import SharedSpace, load_method
from tests import small_media
from tests.pictures import SIZE, painting, pictures

SOUND = str(MEDIA / "sounds" / "dog.opus")
SMALL = PainterOptions(size=8, components=4, hidden=16, blocks=1, steps=3, batch_size=4)
WIDTH = 1280  # of the picture encoder's latents


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A library of 14 pictures and 8 sounds with a run whose space holds both, and its painter."""
    folder = tmp_path_factory.mktemp("generate")
    rows = [*small_media.pictures(folder, 14), *small_media.sounds(folder, 1)[:8]]
    for n, row in enumerate(rows):
        row["split"] = "val" if n % 4 == 3 else "train"
    small_media.write_manifest(folder, rows)
    prepare(folder / "manifest.csv", folder / "lib", PrepareOptions(workers=0))
    library = LibraryTables.open(folder / "lib")
    encode_library(library, ["efficientnet-lite0", "logmel", "minilm"], EngineOptions(workers=0), device="cpu")
    run = small_media.hub_run()
    short = replace(run, method=replace(run.method, dim=8, head="adapter"))  # a linear head is costly to begin
    finish(LatentInputs(load_latents(library), library=str(folder / "lib")), short, folder / "run")
    learn_painter(folder / "run", library, SMALL, device="cpu")
    return folder


def command(capsys, *words):
    status = main(["generate", *map(str, words)])
    out = capsys.readouterr()
    return status, out.out, out.err


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_head_into_a_fixed_space_drives_a_painter_of_that_space(world, tmp_path):
    """The paper's route: sounds are bound to a joint encoder, and the painter is told in its space."""
    library = LibraryTables.open(shutil.copytree(world / "lib", tmp_path / "lib"))
    library.add_root(world)
    encode_library(library, ["wordtower"], EngineOptions(workers=0), device="cpu")
    run = recipe("fusemix.bind")
    method = replace(run.method, head="adapter", depth=0, pairs=(("audio", "text"),))
    run = replace(run, method=method, train=replace(run.train, steps=2, device="cpu", fast_matmul=False))
    finish(run.data.load(library, run.method), run, tmp_path / "run")
    learn_painter(tmp_path / "run", library, SMALL, device="cpu")
    made = generate(tmp_path / "run", {"audio": SOUND}, GenerateOptions(n=2, steps=2), library=library, device="cpu")
    assert made.pictures.shape == (2, 8, 8, 3)
    locked = SharedSpace.from_pretrained(tmp_path / "run", device="cpu").locked
    assert set(locked) == {"video", "text"}, "pictures and words lie where their encoder puts them"


# -- the painter -----------------------------------------------------------------------------------------------------


def test_components_hold_the_pictures():
    """Of pictures of two flat colours six components hold everything: there and back they are as they were."""
    painter, drawn = painting(), pictures().pictures
    x_NP = drawn.flatten(1) / 127.5 - 1
    z_NK = (x_NP - painter.mean) @ painter.axes / painter.axes.square().sum(0)
    torch.testing.assert_close(painter.mean + z_NK @ painter.axes.T, x_NP, atol=1e-4, rtol=0)
    torch.testing.assert_close(z_NK.square().mean(0), painter.variance, atol=1e-3, rtol=1e-3)
    assert float(painter.variance.mean()) == pytest.approx(1.0, abs=1e-6)


def test_untrained_it_says_what_a_gaussian_would():
    """lambda 4 at a = s = 1/sqrt 2: a lambda / (a^2 lambda + s^2) z_t = 1.131371 z_t."""
    painter = Painter(PainterConfig(width=3, size=4, components=2, hidden=8, blocks=1))
    painter.variance.fill_(4.0)
    painter.diffusion.keeps.fill_(0.5**0.5)
    painter.diffusion.noises.fill_(0.5**0.5)
    found = painter.clean(torch.ones(1, 2), torch.tensor([5]), torch.zeros(1, 3))
    torch.testing.assert_close(found, torch.full((1, 2), 1.131371), atol=1e-6, rtol=0)


def test_what_is_painted_depends_on_seed_and_row_alone():
    painter, c_BE = painting(), pictures().vectors
    painter.out.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    whole = painter.paint(c_BE[:5], steps=4)
    assert whole.shape == (5, SIZE, SIZE, 3)
    assert whole.dtype == torch.uint8
    assert torch.equal(whole[:2], painter.paint(c_BE[:2], steps=4))
    assert not torch.equal(whole, painter.paint(c_BE[:5], steps=4, seed=1))
    assert not torch.equal(whole, painter.paint(c_BE[:5], steps=4, guidance=1.0))


def test_a_picture_is_told_by_what_else_its_clip_holds():
    """Picture 0 has two others, 1 none, 2 one: half of the draws are an other, each of them as often."""
    own, others, owner = torch.eye(3), torch.tensor([[2.0] * 3, [3.0] * 3, [4.0] * 3]), torch.tensor([0, 0, 2])
    drawn = torch.zeros(3, 4, 4, 3, dtype=torch.uint8)
    data = TrainingPictures(drawn, own, torch.arange(3), others=others, owner=owner, share=0.5)
    told = torch.stack([data.batch(torch.tensor([2, 1, 0]), epoch=e)["vector"][:, 0] for e in range(400)])
    assert told[:, 1].tolist() == [0.0] * 400
    assert float((told[:, 0] == 4).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert [float((told[:, 2] == n).float().mean()) for n in (1, 2, 3)] == pytest.approx([0.5, 0.25, 0.25], abs=0.1)
    again = data.batch(torch.tensor([0]), epoch=7)["vector"]
    assert torch.equal(again, data.batch(torch.tensor([2, 0]), epoch=7)["vector"][1:])
    assert torch.equal(data.vectors, torch.eye(3))


def test_without_noise_nothing_is_learnt():
    with pytest.raises(ValueError, match="rng"):
        painting().encode(pictures().batch(torch.arange(2)), rng=None)


# -- the carrier -----------------------------------------------------------------------------------------------------


def test_the_gap_is_taken_out():
    """Sounds lie at (0, 1), pictures at (1, 0): a sound that is (1, -0.2) off the mean of sounds comes to (2, -0.2)."""
    carrier = Carrier("video", {"audio": np.array([0.0, 1.0]), "video": np.array([1.0, 0.0])})
    found = carrier({"audio": np.array([[1.0, 0.8]])})
    torch.testing.assert_close(found, torch.tensor([[0.995037, -0.099504]]), atol=1e-6, rtol=0, check_dtype=False)
    both = carrier({"audio": np.array([[0.0, 1.0]]), "video": np.array([[0.0, 1.0]])})
    torch.testing.assert_close(both, torch.tensor([[0.707107, 0.707107]]), atol=1e-6, rtol=0, check_dtype=False)


class About:
    """What of a library the carrier asks."""

    uri = "lib"

    def encoders(self):
        return {"tower": {"modality": "video"}, "words": {"modality": "text"}}


def linear_world(monkeypatch, clips=60):
    """Latents of `tower` are a linear map of the shared space's vectors; half of its clips have two texts."""
    rng = np.random.default_rng(0)
    z_NE, w_ED = unit(rng.normal(size=(clips, 4))), rng.normal(size=(4, 6))
    owner = np.sort(np.concatenate([np.arange(clips), np.arange(0, clips, 2)]))
    splits = np.array(["train", "train", "val"] * (clips // 3), dtype=object)
    arrays = {"video": z_NE @ w_ED + 3.0, "text": unit(rng.normal(size=(len(owner), 4)))}
    data = LatentData.from_arrays(arrays, owner={"text": owner}, splits=splits)
    monkeypatch.setattr("seehear.downstream.painting.load_latents", lambda library, *, encoders: data)
    vectors = {"video": Embedded(z_NE, np.arange(clips)), "text": Embedded(arrays["text"], owner)}
    return Placed(data, [], vectors), z_NE, arrays["video"]


def test_a_linear_map_is_found(monkeypatch):
    known, z_NE, y_ND = linear_world(monkeypatch)
    carrier = to_encoder(known, About(), "tower")
    found, test = carrier({"video": z_NE}).numpy(), known.data.splits == "val"
    assert carrier.modality == "video"
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(y_ND[~test], axis=1).mean(), rel=1e-6)
    cosine = (unit(found) * unit(y_ND)).sum(axis=1)
    assert cosine[test].min() > 0.999


def test_it_needs_an_encoder_of_the_library_and_of_the_space(monkeypatch):
    known, _, _ = linear_world(monkeypatch)
    with pytest.raises(SeehearError, match="did you mean 'tower'"):
        to_encoder(known, About(), "towr")
    del known.vectors["text"]
    with pytest.raises(SeehearError, match="encodes text, which the run's space does not hold"):
        to_encoder(known, About(), "words")


def test_means_are_of_training_clips(monkeypatch):
    known, z_NE, _ = linear_world(monkeypatch)
    train = known.data.splits == "train"
    np.testing.assert_allclose(to_pictures(known).means["video"], z_NE[train].mean(axis=0), atol=1e-6)


# -- pipelines -------------------------------------------------------------------------------------------------------


def kandinsky(folder, width):
    """A real pipeline of a few thousand random weights, for vectors of this width; in a folder."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(32, 64),
        layers_per_block=1,
        encoder_hid_dim=width,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=16,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    )
    movq = diffusers.VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, prediction_type="epsilon")
    diffusers.KandinskyV22Pipeline(unet, scheduler, movq).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_pipeline_from_a_folder_paints(world, tmp_path, capsys):
    folder, grid = kandinsky(tmp_path / "pipeline", WIDTH), tmp_path / "grid.png"
    words = ("--text", "a dog", "--pipeline", folder, "--condition", "efficientnet-lite0", "--size", 64)
    status, out, _ = command(capsys, world / "run", *words, "--n", 2, "--steps", 2, "--out", grid, "--json")
    found = json.loads(out)
    assert status == 0
    assert "KandinskyV22Pipeline" in found["said"]
    one, other = map(pixels, found["pictures"])
    assert one.shape == other.shape
    assert not np.array_equal(one, other)
    status, _, err = command(capsys, world / "run", *words[:-3], "logmel", "--out", grid)
    assert (status, err.count("\n")) == (2, 1)
    assert "is --condition the encoder it was trained with?" in err


class Drawing:
    """A pipeline that paints its noise, brighter by the condition; importing a real one takes seconds."""

    device, dtype = "cpu", torch.float32

    def __call__(self, image_embeds, generator, height, width, guidance_scale, num_inference_steps, output_type):
        assert (output_type, guidance_scale, num_inference_steps) == ("np", 4.0, 2)
        noise = torch.stack([torch.rand(height, width, 3, generator=g) for g in generator])
        bright = image_embeds @ torch.ones(6)
        return SimpleNamespace(images=(noise + bright[:, None, None, None]).numpy())


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_the_condition_says_is_heard(real, tmp_path):
    pipeline = pipelines.load_pipeline(str(kandinsky(tmp_path, 6)), "cpu") if real else Drawing()
    options = {"steps": 2, "guidance": 4.0, "seed": 0, "size": 64}
    c_BD = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    first = pipelines.paint(pipeline, c_BD, **options)
    assert (first.shape, first.dtype) == ((2, 64, 64, 3), np.uint8)
    assert np.array_equal(first, pipelines.paint(pipeline, c_BD, **options))
    assert not np.array_equal(first[0], pipelines.paint(pipeline, -c_BD, **options)[0])
    assert real or np.array_equal(first[:1], pipelines.paint(pipeline, c_BD[:1], **options))
    with pytest.raises(SeehearError, match="cannot paint vectors of 5 numbers"):
        pipelines.paint(pipeline, c_BD[:, :5], **options)


def test_a_pipeline_without_embeddings_is_named(monkeypatch):
    def load(name, **options):
        assert options["use_safetensors"]
        assert not options["trust_remote_code"]
        if name == "none":
            raise OSError("no such folder\nand more")
        return SimpleNamespace(__call__=lambda prompt: None)

    logging = SimpleNamespace(disable_progress_bar=lambda: None)
    fake = SimpleNamespace(
        utils=SimpleNamespace(logging=logging), DiffusionPipeline=SimpleNamespace(from_pretrained=load)
    )
    monkeypatch.setattr(pipelines, "require", lambda *_: fake)
    with pytest.raises(SeehearError, match="SimpleNamespace, which takes no embeddings"):
        pipelines.load_pipeline("words", "cpu")
    with pytest.raises(SeehearError, match=r"no pipeline of diffusers at 'none': no such folder$"):
        pipelines.load_pipeline("none", "cpu")


@pytest.mark.slow
def test_a_pipeline_that_takes_no_embeddings(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
        layers_per_block=1,
    )
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(tmp_path)
    with pytest.raises(SeehearError, match="DDPMPipeline, which takes no embeddings"):
        pipelines.load_pipeline(str(tmp_path), "cpu")
    with pytest.raises(SeehearError, match="no pipeline of diffusers at"):
        pipelines.load_pipeline(str(tmp_path / "none"), "cpu")


def test_a_pipeline_that_wants_custom_code_is_refused_and_not_run(tmp_path):
    folder, marker = tmp_path / "pipeline", tmp_path / "ran"
    folder.mkdir()
    (folder / "custom.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": ["custom", "Custom"]}))
    with pytest.raises(SeehearError, match=r"custom code.*choose a pipeline") as caught:
        pipelines.load_pipeline(str(folder), "cpu")
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("takes", "shapes"),
    [
        ({"image_embeds", "negative_image_embeds"}, {"image_embeds": (2, 3), "negative_image_embeds": (2, 3)}),
        ({"image_embeddings", "prompt_embeds"}, {"image_embeddings": (2, 3)}),
        (
            {"prompt", "prompt_embeds", "negative_prompt_embeds", "prompt_attention_mask"},
            {"prompt_embeds": (2, 1, 3), "negative_prompt_embeds": (2, 1, 3), "prompt_attention_mask": (2, 1)},
        ),
        (
            {"prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"},
            {"prompt_embeds": (2, 1, 3), "pooled_prompt_embeds": (2, 3), "negative_pooled_prompt_embeds": (2, 3)},
        ),
    ],
)
def test_a_pipeline_gets_what_its_call_takes(takes, shapes):
    found = pipelines.conditions(torch.ones(2, 3), takes)
    assert {name: tuple(x.shape) for name, x in found.items()} == shapes
    assert all(not x.any() for name, x in found.items() if name.startswith("negative"))


def test_without_the_extra_it_says_which(monkeypatch):
    def gone(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(errors.importlib, "import_module", gone)
    with pytest.raises(SeehearError, match=r"pip install 'seehear\[generate\]'"):
        pipelines.load_pipeline("somewhere", "cpu")


# -- the command -----------------------------------------------------------------------------------------------------


def test_a_sound_is_painted(world, tmp_path, capsys):
    grid = tmp_path / "new" / "dog.png"
    words = ("--audio", SOUND, "--text", "a dog", "--n", 3, "--steps", 2, "--out", grid)
    status, out, _ = command(capsys, world / "run", *words, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["query"] == {"text": "a dog", "audio": SOUND}
    assert [pixels(path).shape for path in found["pictures"]] == [(8, 8, 3)] * 3
    assert pixels(grid).shape[1] > 500
    scores = [near["score"] for near in found["nearest"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
    photo = grid.with_suffix(".jpg")
    status, out, _ = command(capsys, world / "run", *words[:-1], photo)
    assert status == 0
    assert str(photo) in out.splitlines()
    assert photo.read_bytes()[:2] == b"\xff\xd8", "the kind of picture that its name says"


def test_a_picture_finds_itself(world):
    library = LibraryTables.open(world / "lib")
    own = next(clip for clip in library.clips() if clip.has_video)
    path = str(library.path_of(own.source))
    made = generate(world / "run", {"image": path}, GenerateOptions(n=2, steps=2), library=library, device="cpu")
    assert made.nearest[0].path == path
    assert made.nearest[0].score == pytest.approx(1.0, abs=1e-3)


def test_the_painter_is_of_training_pictures_and_of_this_model(world, tmp_path):
    painter, config, _ = load_method(world / "run" / "painter")
    assert config["pictures"] == 11
    assert painter.config.components == 4
    space = SharedSpace.from_pretrained(world / "run", device="cpu")
    known = placed(space, LibraryTables.open(world / "lib"))
    torch.testing.assert_close(painter.centre, torch.from_numpy(known.part("video", "train").vectors).mean(0))
    with pytest.raises(SeehearError, match="no space that is searched"):
        SharedSpace.from_pretrained(world / "run" / "painter")
    shutil.copytree(world / "run", tmp_path / "run")
    path = tmp_path / "run" / "painter" / "model" / "config.json"
    path.write_text(path.read_text().replace(space.fingerprint, "0" * 16))
    with pytest.raises(SeehearError, match="trained for another state of the model"):
        generate(tmp_path / "run", {"text": "a dog"}, library=LibraryTables.open(world / "lib"), device="cpu")


def test_learning_that_was_stopped_goes_on(world, tmp_path, capsys):
    shutil.copytree(world / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "painter" / "model")
    options = [f"--painter.{k}={getattr(SMALL, k)}".replace("_", "-") for k in vars(SMALL)]
    status, _, err = command(capsys, tmp_path / "run", "--learn", *options)
    assert status == 2
    assert "--resume" in err.splitlines()[-1]
    status, out, _ = command(capsys, tmp_path / "run", "--learn", "--resume", *options)
    assert status == 0
    assert out == f"painter: {tmp_path / 'run' / 'painter' / 'model'}\n"
    before, after = (load_method(at / "painter")[0].state_dict() for at in (world / "run", tmp_path / "run"))
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_mistakes_are_one_line(world, tmp_path, capsys):
    shutil.copytree(world / "run", tmp_path / "run", ignore=shutil.ignore_patterns("painter"))
    for words, said in (
        ((tmp_path / "run", "--text", "x"), "has no painter yet"),
        ((world / "run",), "nothing to paint"),
        ((world / "run", "--audio", "gone.wav"), "no file gone.wav"),
        ((world / "run", "--text", "x", "--pipeline", "y"), "--pipeline and --condition go together"),
        ((world / "none", "--text", "x"), "no run at"),
    ):
        status, out, err = command(capsys, *words)
        assert (status, out, err.count("\n")) == (2, "", 1), words
        assert said in err


def test_what_the_space_does_not_know_is_said_before_a_painter_is_learned(world, monkeypatch, capsys):
    module = "seehear.commands.downstream"
    monkeypatch.setattr(f"{module}.learn_painter", lambda *_, **__: pytest.fail("it learned"))
    monkeypatch.setattr(f"{module}.read_config", lambda folder: {"encoders": {"video": [], "text": []}})
    status, _, err = command(capsys, world / "run", "--learn", "--audio", SOUND)
    assert status == 2
    assert err.endswith("was trained without audio, on video, text\n")


def test_a_run_without_sound_says_so(world, tmp_path):
    model = tmp_path / "run" / "model"
    data = load_latents(LibraryTables.open(world / "lib")).only(("video", "text"))
    run = small_media.hub_run()
    short = replace(run, train=replace(run.train, epochs=1))
    finish(
        LatentInputs(data),
        replace(short, method=replace(short.method, dim=8, head="adapter", pairs=(("video", "text"),))),
        model.parent,
    )
    shutil.copytree(world / "run" / "painter", tmp_path / "run" / "painter")
    path = tmp_path / "run" / "painter" / "model" / "config.json"
    own = SharedSpace.from_pretrained(model, device="cpu").fingerprint
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of": own}))
    with pytest.raises(SeehearError, match="this space has no audio"):
        generate(tmp_path / "run", {"audio": SOUND}, library=LibraryTables.open(world / "lib"), device="cpu")
