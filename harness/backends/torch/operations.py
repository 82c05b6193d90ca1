"""Small computations in PyTorch's words, run eagerly."""

from __future__ import annotations

from harness.backends.dialect import Dialect

DIALECT = Dialect(
    prelude="import torch\nimport torch.nn.functional as F",
    operations={
        "convolution": "F.conv2d({x}, {p0}, {p1}, stride={stride}, padding={padding})",
        "convolution_channels_last": "F.conv2d({x}.contiguous(memory_format=torch.channels_last), "
        "{p0}, {p1}, stride={stride}, padding={padding})",
        "max_pool": "F.max_pool2d({x}, {window}, stride={stride}, padding={padding})",
        "average_pool": "F.avg_pool2d({x}, {window}, stride={stride}, padding={padding}, "
        "count_include_pad=False)",
        "batch_norm": "F.batch_norm({x}, None, None, {p0}, {p1}, training=True)",
        "flatten": "{x}.flatten(1)",
        "spatial_mean": "{x}.mean((2, 3))",
        "dense": "F.linear({x}, {p0}, {p1})",
        "product": "{x} @ {p0}.T",
        "relu": "F.relu({x})",
        "tanh": "torch.tanh({x})",
        "sigmoid": "torch.sigmoid({x})",
        "softplus": "F.softplus({x}, threshold=1000)",
        "log_softmax": "F.log_softmax({x}, dim=-1)",
        "row_sum": "{x}.sum(-1)",
        "row_mean": "{x}.mean(-1)",
        "row_max": "{x}.amax(-1)",
        "logsumexp": "torch.logsumexp({x}, -1)",
        "cross_entropy": "F.cross_entropy({x}, torch.arange(len({x})) % {x}.shape[1], "
        'reduction="none")',
        "binary_cross_entropy": "F.binary_cross_entropy_with_logits({x}, ((torch.arange(len({x}))"
        '[:, None] + torch.arange({x}.shape[1])) % 2).to({x}.dtype), reduction="none").mean(-1)',
    },
    rows={"product": "{p0} @ {x}", "dense": "{p0} @ {x} + {p1}"},
    vectorize="torch.vmap({function}, in_dims=(0, *[None] * {parameters}))",
    compute="""def compute(x, parameters, cotangent):
    arrays = [torch.from_numpy(array).requires_grad_() for array in (x, *parameters)]
    y = network(*arrays)
    y.backward(torch.from_numpy(cotangent))
    return [y.detach().numpy(), *(array.grad.numpy() for array in arrays)]""",
)
