# What the harness calls, through the bridge. One network at a time; arrays belong to the caller.

mutable struct Pipeline{T}
    engine::Engine{T}
    network
    parameters::Vector{Pair{String,Any}}
    settings::NamedTuple
    rules::Vector{Any}
    mean::Vector{Float64}
    std::Vector{Float64}
end

const CURRENT = Ref{Union{Nothing,Pipeline}}(nothing)

"Make the network of a model card and an engine to train it with."
function build(
    module_name, activation, pooling, width, height, channels, classes, precision,
    mean, std, optimizer_name, momentum, beta1, beta2, epsilon, weight_decay,
)
    T = Dict("float32" => Float32, "float64" => Float64)[precision]
    shape = (width, height, channels)
    network = build_network(module_name, T, shape, classes, activation, pooling)
    settings = (
        name = optimizer_name, momentum = momentum, beta1 = beta1, beta2 = beta2,
        epsilon = epsilon, weight_decay = weight_decay,
    )
    CURRENT[] = Pipeline{T}(
        Engine{T}(), network, parameters(network), settings, [], copy(mean), copy(std),
    )
    reset_optimizer()
    return nothing
end

"Names of the parameters, in the order of the forward pass, one a line."
parameter_names() = join(first.(CURRENT[].parameters), '\n')

function parameter(name)
    for (found, param) in CURRENT[].parameters
        found == name && return param
    end
    error("the network has no parameter $name")
end

set_parameter(name, array) = (from_canonical!(value(parameter(name)), array); nothing)
get_parameter(name, out) = (canonical!(out, value(parameter(name))); nothing)
get_gradient(name, out) =
    (canonical!(out, gradient(CURRENT[].engine, parameter(name))); nothing)

"Forget velocities and moments."
function reset_optimizer()
    now = CURRENT[]
    now.rules = [optimizer(now.settings, value(param)) for (_, param) in now.parameters]
    return nothing
end

images(now::Pipeline{T}, pixels, labels) where {T} = Images{T}(pixels, labels, now.mean, now.std)

"""
    train(pixels, labels, order, rates, losses)

Train on the batches `order` (batch, steps), indices from 0, with learning rates `rates` (steps,),
and write the loss of every step, before its update, to `losses` (steps,).
"""
function train(pixels, labels, order, rates, losses)
    now = CURRENT[]
    train!(now, images(now, pixels, labels), order, rates, losses)
    return nothing
end

function train!(now::Pipeline, images::Images, order, rates, losses)
    indices = Vector{Int}(undef, size(order, 1))
    for step in axes(order, 2)
        indices .= view(order, :, step) .+ 1
        losses[step] = loss_and_gradients!(now.engine, now.network, Batch(images, indices))
        for ((_, param), rule) in zip(now.parameters, now.rules)
            update!(value(param), gradient(now.engine, param), rates[step], rule)
        end
    end
end

"Loss of one batch (indices from 0) and its scores; the gradients wait for `get_gradient`."
function differentiate(pixels, labels, batch, scores)
    now = CURRENT[]
    chosen = Batch(images(now, pixels, labels), batch .+ 1)
    scores!(scores, now.engine, now.network, chosen)
    return Float64(loss_and_gradients!(now.engine, now.network, chosen))
end

"Scores (classes, N) of all `pixels` (W, H, C, N), in their own order."
function predict(pixels, scores)
    now = CURRENT[]
    nothing_known = zeros(UInt8, size(pixels, 4))
    batch = Batch(images(now, pixels, nothing_known), 1:size(pixels, 4))
    scores!(scores, now.engine, now.network, batch)
    return nothing
end

"Do everything once on a small scale; precompiling the package keeps what it takes to compile."
function rehearse()
    pixels, labels = zeros(UInt8, 12, 12, 1, 4), zeros(UInt8, 4)
    order, scores = zeros(Int, 4, 1), zeros(Float32, 2, 4)
    for (f, pool) in (("tanh", "average"), ("relu", "max"))
        build(
            "lenet5", f, pool, 12, 12, 1, 2, "float32", [0.5], [0.5], "sgd",
            0.9, 0.9, 0.999, 1e-8, 0.0,
        )
        for (name, param) in CURRENT[].parameters
            array = zeros(Float32, reverse(size(value(param))))
            get_parameter(name, array)
            set_parameter(name, array)
        end
        train(pixels, labels, order, zeros(1), zeros(1))
        predict(pixels, scores)
    end
    facts()
    CURRENT[] = nothing
end

"What runs here, one `name=value` a line."
facts() = join(
    [
        "julia=$VERSION",
        "engine=$(engine_name())",
        "threads=$(Threads.nthreads())",
        "LLVM=$(Base.libllvm_version)",
    ],
    '\n',
)
