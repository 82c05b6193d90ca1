"""Small computations in the words of Knet.jl, differentiated by AutoGrad.

A NumPy array of shape (N, C, H, W) is a Julia array of size (W, H, C, N) in the same memory.
"""

from __future__ import annotations

from harness.backends.dialect import Dialect

_WINDOW = "window = {window}, stride = {stride}, padding = {padding}"

KNET = Dialect(
    prelude="using Knet: @diff, Knet, Param, conv4, grad, logp, logsumexp, mat, pool, relu, sigm, "
    "value",
    # Knet knows one layout, channels between images and space, so there is no other convolution.
    operations={
        "convolution": "conv4({p0}, {x}; stride = {stride}, padding = {padding}, mode = 1) .+ "
        "reshape({p1}, 1, 1, :, 1)",
        "max_pool": f"pool({{x}}; {_WINDOW})",
        "average_pool": f"pool({{x}}; {_WINDOW}, mode = 1) ./ "
        f"pool(fill!(similar(value({{x}})), 1); {_WINDOW}, mode = 1)",
        "batch_norm": "Knet.batchnorm({x}, nothing, vcat({p0}, {p1}); training = true)",
        "flatten": "mat({x})",
        "spatial_mean": "reshape(sum({x}; dims = (1, 2)), size({x}, 3), :) ./ "
        "(size({x}, 1) * size({x}, 2))",
        "dense": "permutedims({p0}) * {x} .+ {p1}",
        "product": "permutedims({p0}) * {x}",
        "relu": "relu.({x})",
        "tanh": "tanh.({x})",
        "sigmoid": "sigm.({x})",
        "softplus": "log.(1 .+ exp.(.-abs.({x}))) .+ max.({x}, 0)",
        "log_softmax": "logp({x}; dims = 1)",
        "row_sum": "reshape(sum({x}; dims = 1), :)",
        "row_mean": "reshape(sum({x}; dims = 1), :) ./ size({x}, 1)",
        "row_max": "reshape(maximum({x}; dims = 1), :)",
        "logsumexp": "reshape(logsumexp({x}; dims = 1), :)",
    },
    # There is no function that maps another over rows: users write for a whole batch.
    vectorize="{function}",
    function="function {name}({names})\n{steps}\n    return x\nend",
    compute="""function compute(x, parameters, cotangent)
    given = [Param(array) for array in (x, parameters...)]
    tape = @diff sum(network(given...) .* cotangent)
    found = [grad(tape, each) for each in given]
    zero_or(gradient, of) = gradient === nothing ? zero(of) : gradient
    return [network(x, parameters...), map(zero_or, found, [x, parameters...])...]
end""",
    host='''from juliacall import Main as jl

jl.include_string(jl.Main, """
{source}
""")


def compute(x, parameters, cotangent):
    def julia(array):
        return jl.Array(np.asfortranarray(np.transpose(array)))

    found = jl.compute(julia(x), jl.Vector([julia(p) for p in parameters]), julia(cotangent))
    return [np.transpose(np.asarray(array)) for array in found]
''',
)
