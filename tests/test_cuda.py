"""CUDA gives what the CPU gives. Run by `benchmarks/gpu.py` where a device is at hand; the cases on the CPU, which
compare it with itself, say that these tests start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from seehear.losses.contrastive import info_nce
from seehear.nn.kmeans import kmeans
from seehear.nn.random import Randomness, _draw
from seehear.train.optim import Computation, gradients
from tests.methods_under_test import METHODS

ROWS = 20
CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
EACH = [("toy", "cpu"), *(pytest.param(name, "cuda", marks=pytest.mark.gpu) for name in METHODS)]


@dataclass(frozen=True)
class DrawnOnCPU(Randomness):
    """The draws of the CPU on any device, or nothing could be compared."""

    def _rows(self, kind, name, shape):
        place = self.seed, self.step, self.start, self.stop, self.total
        return _draw(kind, name, place, shape, torch.device("cpu")).to(self.device)


def step(name, device, *, precision=None, micro_batch=None):
    """Loss and gradients of one step, on the CPU."""
    make_method, make_data = METHODS[name]
    data = make_data(ROWS)
    device, dtype = torch.device(device), torch.float64 if precision is None else torch.float32
    method = make_method().to(device, dtype)
    batch = data.batch(torch.arange(ROWS), seed=0, epoch=0)
    out = gradients(
        method,
        {k: v.to(device) for k, v in batch.items()},
        progress=0.25,
        rng=DrawnOnCPU(seed=3, step=7, start=0, stop=ROWS, total=ROWS, device=device),
        how=Computation(micro_batch=micro_batch, precision=precision or "fp32"),
    )
    return float(out.loss), {n: p.grad.cpu() for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("micro_batch", [None, 7])
@pytest.mark.parametrize(("name", "device"), EACH)
def test_a_step_is_that_of_the_cpu(name, device, micro_batch):
    expected_loss, expected = step(name, "cpu")
    loss, found = step(name, device, micro_batch=micro_batch)
    assert loss == pytest.approx(expected_loss, rel=1e-8)
    assert found.keys() == expected.keys()
    for n in expected:
        torch.testing.assert_close(found[n], expected[n], rtol=1e-6, atol=1e-9, msg=lambda m, n=n: f"{n}: {m}")


@pytest.mark.parametrize(("name", "device"), EACH)
def test_bf16_is_near_fp32(name, device):
    expected, _ = step(name, device, precision="fp32")
    loss, found = step(name, device, precision="bf16")
    assert loss == pytest.approx(expected, rel=0.05)
    assert all(g.isfinite().all() for g in found.values())


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_tiled_info_nce_is_the_plain_form(device):
    g = torch.Generator().manual_seed(0)
    rows = [torch.nn.functional.normalize(torch.randn(300, 16, generator=g), dim=1).to(device) for _ in range(2)]

    def losses(tile):
        x, y, tau = (*(r.clone().requires_grad_() for r in rows), torch.tensor(0.07, device=device, requires_grad=True))
        loss = info_nce(x, y, tau, tile=tile)
        return loss, *torch.autograd.grad(loss, (x, y, tau))

    for tiled, plain in zip(losses(64), losses(None), strict=True):
        torch.testing.assert_close(tiled, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_kmeans_is_that_of_the_cpu(device):
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 8, generator=g)
    x = centres[torch.arange(200) % 5] + 0.1 * torch.randn(200, 8, generator=g)
    expected = kmeans(x, x[:5].clone(), iterations=5).centroids_KE
    found = kmeans(x.to(device), x[:5].to(device), iterations=5).centroids_KE
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(("family", "modality"), [("bert", "text"), ("t5", "text")])
def test_a_model_of_the_hub_gives_the_vectors_of_the_cpu(family, modality, tmp_path):
    pytest.importorskip("transformers")
    from seehear.encoders import Sample, load_encoder
    from tests.encoders import tiny

    name = f"hub:{tiny.make(family, tmp_path / family)}"
    texts = [Sample(text="a dog barks"), Sample(text="in the rain")]
    vectors = []
    for device in ("cpu", "cuda"):
        encoder = load_encoder(name, modality=modality, device=device)
        x = np.asarray(encoder.encode([encoder.prepare(text) for text in texts]), np.float32)
        vectors.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.99
