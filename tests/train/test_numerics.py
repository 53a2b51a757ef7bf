"""Settings of the process that a run borrows."""

import torch
import torch._dynamo

from seehear.train import numerics


def test_compiled_code_is_kept_for_more_shapes_than_torch_expects():
    """A masking ratio that changes has a shape each."""

    def keep(x, n):
        return x[:n] * 2

    before = torch._dynamo.config.recompile_limit
    with numerics.settings(fast_matmul=False, deterministic=False, compiled=True):
        compiled = torch.compile(keep, backend="eager", dynamic=False, fullgraph=True)
        for n in range(1, 21):
            assert len(compiled(torch.ones(30), n)) == n  # with fullgraph, running out of room is an error
    assert torch._dynamo.config.recompile_limit == before
