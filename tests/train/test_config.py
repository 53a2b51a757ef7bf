"""Settings of the process that a run borrows."""

import torch
import torch._dynamo

from seehear.train.config import TrainConfig, numerics


def test_compiled_code_is_kept_for_more_shapes_than_torch_expects():
    """A masking ratio that changes has a shape each."""

    def keep(x, n):
        return x[:n] * 2

    before = torch._dynamo.config.recompile_limit
    with numerics(TrainConfig(compile=True)):
        compiled = torch.compile(keep, backend="eager", dynamic=False, fullgraph=True)
        for n in range(1, 21):
            assert len(compiled(torch.ones(30), n)) == n  # with fullgraph, running out of room is an error
    assert torch._dynamo.config.recompile_limit == before
