# What the harness calls, through the bridge. One network at a time; arrays belong to the caller.

mutable struct Pipeline{T}
    engine::Engine{T}
    network
    arrays::Vector{Pair{String,Any}}  # by name: parameters, and running statistics
    parameters::Vector{Param}
    settings::NamedTuple
    rules::Vector{Any}
    mean::Vector{Float64}
    std::Vector{Float64}
    positive_weights::Vector{Float64}
    splits::Dict{String,Images{T}}
    received::Received.Record
end

const CURRENT = Ref{Union{Nothing,Pipeline}}(nothing)

"Make the network of a model card and an engine to train it with."
function build(
    module_name, activation, pooling, width, height, channels, classes, precision,
    mean, std, positive_weights, optimizer_name, momentum, beta1, beta2, epsilon, weight_decay,
)
    T = precision == "float64" ? Float64 : Float32
    shape = (width, height, channels)
    network = build_network(module_name, T, shape, classes, activation, pooling)
    settings = (
        name = optimizer_name, momentum = momentum, beta1 = beta1, beta2 = beta2,
        epsilon = epsilon, weight_decay = weight_decay,
    )
    found = arrays(network)
    CURRENT[] = Pipeline{T}(
        Engine{T}(), network, found, [param for (_, param) in found if param isa Param], settings,
        [], copy(mean), copy(std), copy(positive_weights), Dict{String,Images{T}}(),
        Received.Record(),
    )
    reset_optimizer()
    return nothing
end

"A parameter, or running statistics, by the name that the model card gives it."
function named_array(name)
    for (found, array) in CURRENT[].arrays
        found == name && return array
    end
    error("the network has no parameter $name")
end

set_parameter(name, given) = (from_canonical!(value(named_array(name)), given); nothing)
get_parameter(name, out) = (canonical!(out, value(named_array(name))); nothing)
get_gradient(name, out) =
    (canonical!(out, gradient(CURRENT[].engine, named_array(name))); nothing)

"Forget velocities and moments, and what was received so far."
function reset_optimizer()
    now = CURRENT[]
    now.received = Received.Record()
    now.rules = Any[optimizer(now.settings, vec(value(param))) for param in now.parameters]
    return nothing
end

"What the update rule keeps of a parameter, shaped as the parameter: memory of the rule's own."
function named_slot(name, parameter)
    now, array = CURRENT[], named_array(parameter)
    rule = now.rules[findfirst(param -> param === array, now.parameters)]
    return reshape(slot(rule, name), size(value(array)))
end

get_slot(name, parameter, out) = (canonical!(out, named_slot(name, parameter)); nothing)
set_slot(name, parameter, given) = (from_canonical!(named_slot(name, parameter), given); nothing)

"Updates so far, where the rule counts them."
get_steps() = steps(first(CURRENT[].rules))
set_steps(count) = (foreach(rule -> steps!(rule, count), CURRENT[].rules); nothing)

images(now::Pipeline{T}, pixels, labels) where {T} =
    Images{T}(pixels, labels, now.mean, now.std, now.positive_weights)

"Use these pixels (W, H, C, N) and labels (N,) as a split; the caller keeps them alive."
function hand_over(split, pixels, labels)
    now = CURRENT[]
    now.splits[split] = images(now, pixels, labels)
    return nothing
end

"Read a split from the data set's own file, through HDF5.jl."
read_from_file(split, path) = hand_over(split, read_split(path, split)...)

"Let go of a split that was handed over."
forget(split) = (delete!(CURRENT[].splits, split); nothing)

can_read_files() = Int(has_hdf5())

"""
    train(split, order, rates, augmentation, losses)

Train on the batches `order` (batch, steps), indices from 0, with learning rates `rates` (steps,),
and write the loss of every step, before its update, to `losses` (steps,). Images are augmented as
`augmentation` (3, batch, steps) says; when it is empty, they are not.
"""
function train(split, order, rates, augmentation, losses)
    now = CURRENT[]
    Received.keep!(now.received, order, rates, augmentation)
    train!(now, now.splits[split], order, rates, augmentation, losses)
    return nothing
end

"Digests of what `train` was given since the optimizer was reset."
received() = Received.digests(CURRENT[].received)

"Digest of the pixels and labels of images `rows` of a split, indices from 0."
function images_digest(split, rows)
    held = CURRENT[].splits[split]
    return Received.images_digest(held.pixels, held.labels, rows .+ 1)
end

function train!(now::Pipeline, images::Images, order, rates, augmentation, losses)
    indices = Vector{Int}(undef, size(order, 1))
    for step in axes(order, 2)
        indices .= view(order, :, step) .+ 1
        own = isempty(augmentation) ? nothing : view(augmentation, :, :, step)
        batch = Batch(images, indices, own)
        losses[step] = loss_and_gradients!(now.engine, now.network, batch)
        for (param, rule) in zip(now.parameters, now.rules)
            # As vectors, so that the rule is compiled once and not for every number of axes.
            update!(vec(value(param)), vec(gradient(now.engine, param)), rates[step], rule)
        end
    end
end

"""
Loss of one batch (indices from 0) and its logits in evaluation; the gradients wait for
`get_gradient`. Running statistics stay as they are.
"""
function differentiate(split, batch, logits)
    now = CURRENT[]
    chosen = Batch(now.splits[split], batch .+ 1)
    logits!(logits, now.engine, now.network, chosen)
    statistics = [array => copy(array) for (_, array) in now.arrays if array isa Array]
    loss = loss_and_gradients!(now.engine, now.network, chosen)
    foreach(((array, before),) -> copyto!(array, before), statistics)
    return Float64(loss)
end

const MAPS = Ref{Array}()

"""
Grad-CAM (Selvaraju et al. 2017) of the images `rows` of a split for the logits `outputs`, both
counted from 0. Returns height and width of the maps, which wait for `get_activation_maps`.
"""
function activation_maps(split, rows, outputs)
    now = CURRENT[]
    batch = Batch(now.splits[split], rows .+ 1)
    maps, gradients = maps_and_gradients(now.engine, now.network, batch, outputs .+ 1)
    width, height = size(maps)[1:2]
    weights = sum(gradients; dims = (1, 2)) ./ (width * height)
    MAPS[] = max.(dropdims(sum(weights .* maps; dims = 3); dims = 3), 0)
    return "$height $width"
end

get_activation_maps(out) = (copyto!(out, MAPS[]); nothing)

"Logits (classes, count) of `count` images of a split from the one of index `first` on, from 0."
function predict(split, first, logits)
    now = CURRENT[]
    batch = Batch(now.splits[split], first+1:first+size(logits, 2))
    logits!(logits, now.engine, now.network, batch)
    return nothing
end

"Train and predict once on a small scale: precompiling the package keeps what that compiles."
function precompile_workload()
    pixels, labels = zeros(UInt8, 16, 16, 1, 4), zeros(UInt8, 4)
    order, logits = zeros(Int, 4, 1), zeros(Float32, 2, 4)
    for (model, f, pool) in
        (("lenet5", "tanh", "average"), ("lenet5", "relu", "max"), ("xraynet", "relu", "max"))
        build(
            model, f, pool, 16, 16, 1, 2, "float32", [0.5], [0.5], Float64[], "sgd",
            0.9, 0.9, 0.999, 1e-8, 0.0,
        )
        for (name, param) in CURRENT[].arrays
            array = zeros(Float32, reverse(size(value(param))))
            get_parameter(name, array)
            set_parameter(name, array)
        end
        hand_over("train", pixels, labels)
        train("train", order, zeros(1), zeros(Int, 0, 4, 1), zeros(1))
        predict("train", 0, logits)
        received()
        images_digest("train", zeros(Int, 1))
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
