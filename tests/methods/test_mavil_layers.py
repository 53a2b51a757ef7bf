"""An image MAE as the start of an audio-video model: its published tensors, the two ways that they are named."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.methods.mavil_config import MAViLConfig
from seehear.methods.mavil_layers import ImageMAE, Trunk
from seehear.nn.masked import sincos
from seehear.nn.transformer import Size

SIZE = Size(layers=3, width=32, hidden=64, heads=2)


def published():
    """The model of another library, and its tensors."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTMAEConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=4,
        layer_norm_eps=1e-6,
        mask_ratio=0.0,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    torch.manual_seed(0)
    model = transformers.ViTMAEForPreTraining(config).eval()
    with torch.no_grad():  # as in all published weights; a new model of some versions has zeros
        model.vit.embeddings.position_embeddings[0, 1:] = sincos((4, 4), 32)
    with TemporaryDirectory() as folder:  # in a file names are as published, in memory they need not be
        model.save_pretrained(folder)
        return model, load_file(Path(folder) / "model.safetensors")


def as_timm(tensors):
    """The same by timm's names: query, key and value in one."""
    out = {}
    for i in range(3):
        old, new = f"vit.encoder.layer.{i}", f"blocks.{i}"
        names = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.output.dense"}
        names |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
        for kind in ("weight", "bias"):
            out |= {f"{new}.{n}.{kind}": tensors[f"{old}.{o}.{kind}"] for n, o in names.items()}
            parts = [tensors[f"{old}.attention.attention.{q}.{kind}"] for q in ("query", "key", "value")]
            out[f"{new}.attn.qkv.{kind}"] = torch.cat(parts)
    for kind in ("weight", "bias"):
        out[f"patch_embed.proj.{kind}"] = tensors[f"vit.embeddings.patch_embeddings.projection.{kind}"]
    return out | {"cls_token": tensors["vit.embeddings.cls_token"]}


def trunk(size=SIZE):
    torch.manual_seed(1)
    film = {"frames": (4, 16, 16), "patch": (2, 4, 4), "still": True}
    sound = {"mel_frames": 12, "mel_bands": 8, "mel_patch": (4, 4)}
    return Trunk(MAViLConfig(size=size, **film, **sound))


@pytest.mark.parametrize("names", ["hugging face", "timm"])
def test_a_film_of_one_picture_is_seen_as_the_picture_was(names):
    """And a film of which every second picture is black."""
    model, tensors = published()
    mae = ImageMAE.from_tensors(tensors if names == "hugging face" else as_timm(tensors))
    own = trunk()
    own.start_from(mae, {"video": (2, 4, 4)})
    picture = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = torch.arange(16.0)[None].expand(2, -1)  # in the order of the grid
    with torch.no_grad():
        expected = model.vit(picture, noise=noise).last_hidden_state
        patches = F.unfold(picture, 4, stride=4).mT.unflatten(2, (3, 16)).mT.flatten(2)  # (height, width, colour)
        twice = torch.cat([patches, torch.zeros_like(patches)], dim=2)  # a tube whose second picture is black
        found = own.encode("video", twice, torch.arange(16).expand(2, -1))
        found = F.layer_norm(found, (32,), tensors["vit.layernorm.weight"], tensors["vit.layernorm.bias"], 1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_starts_from_what():
    _, tensors = published()
    mae, own, before = ImageMAE.from_tensors(tensors), trunk(), trunk()
    kernel = tensors["vit.embeddings.patch_embeddings.projection.weight"]
    own.start_from(mae, {"video": (2, 4, 4), "audio": (4, 4)})
    assert torch.equal(own.tokens["audio"].project.weight, kernel.sum(dim=1).flatten(1))
    both = own.tokens["video"].project.weight.unflatten(1, (2, 4, 4, 3))
    assert torch.equal(both[:, 0], kernel.permute(0, 2, 3, 1))  # undivided
    assert torch.equal(both[:, 1], both[:, 0])
    for block in own.fusion.transformer.blocks:
        assert all(torch.equal(v, mae.blocks[-1][k]) for k, v in block.state_dict().items())
    video_only = trunk()
    video_only.start_from(mae, {"video": (2, 4, 4)})
    old = before.encoders["audio"].state_dict()
    assert all(torch.equal(v, old[k]) for k, v in video_only.encoders["audio"].state_dict().items())


def test_other_weights_are_refused():
    _, tensors = published()
    mae = ImageMAE.from_tensors(tensors)
    with pytest.raises(SeehearError, match="width 32 and 3 blocks, this model width 32 and 2 blocks"):
        trunk(Size(layers=2, width=32, hidden=64, heads=2)).start_from(mae, {"video": (2, 4, 4)})
    with pytest.raises(SeehearError, match=r"patches of \(4, 4\), this model of \(8, 8\)"):
        trunk().start_from(mae, {"video": (2, 8, 8)})
    with pytest.raises(SeehearError, match=r"blocks\.0\.up\.weight is \(64, 32\) there and \(96, 32\) here"):
        trunk(Size(layers=3, width=32, hidden=96, heads=2)).start_from(mae, {"video": (2, 4, 4)})
    with pytest.raises(SeehearError, match=r"no weights of an image MAE or ViT: missing cls_token, patch_embed"):
        ImageMAE.from_tensors({"text_model.weight": torch.zeros(1)})
    part = {k: v for k, v in as_timm(tensors).items() if "blocks.1.attn.qkv" not in k}
    with pytest.raises(SeehearError, match=r"missing blocks\.1\.attn\.qkv\.bias, blocks\.1\.attn\.qkv\.weight$"):
        ImageMAE.from_tensors(part)
