"""
Training as Knet's tutorial writes it: `minibatch` shuffles and slices, `minimize` differentiates
and updates with Knet's own optimisers, `progress` prints. The networks are the same; what the
protocol fixes step by step (the order of the images, the update rule) is Knet's own here.
"""
module Idiom

using Knet: Knet, adam, minibatch, momentum, progress, sgd, value
using PipelineBench: Batch, Received
using Random: Random
using ..PipelineBenchKnet:
    PipelineBenchKnet, CURRENT, build, cross_entropy, hand_over, inputs, targets

const PREPARED = IdDict{Any,Any}()

"Forget what the optimisers have learnt, and start the shuffling from its beginning."
function reset_optimizer()
    PipelineBenchKnet.reset_optimizer()
    foreach(param -> param.opt = nothing, CURRENT[].parameters)
    Random.seed!(1)
    return nothing
end

"The normalised images (W, H, C, N) of a split and its labels, as arrays, prepared once."
function tensors(images)
    get!(PREPARED, images) do
        empty!(PREPARED)
        whole = Batch(images, 1:size(images.pixels, 4))
        inputs(whole), targets(whole)
    end
end

"The loss that is minimised; Knet's optimisers know no weight decay, so it stands here."
function objective(now)
    weights, positive = now.parameters, now.splits["train"].positive_weights
    half_decay = convert(eltype(value(weights[1])), now.settings.weight_decay / 2)
    plain(x, y) = cross_entropy(now.network(x), y, positive)
    decayed(x, y) = plain(x, y) + half_decay * sum(sum(abs2, w) for w in weights)
    return half_decay == 0 ? plain : decayed
end

"Knet's optimiser for the task's settings: an iterator that trains as it is iterated."
function optimise(loss, data, rate, settings)
    settings.name == "sgd" && settings.momentum == 0 && return sgd(loss, data; lr = rate)
    settings.name == "sgd" && return momentum(loss, data; lr = rate, gamma = settings.momentum)
    settings.name == "adam" || error("Knet has no optimiser $(settings.name): choose sgd or adam")
    return adam(
        loss, data; lr = rate, beta1 = settings.beta1, beta2 = settings.beta2,
        eps = settings.epsilon,
    )
end

"""
    train(split, order, rates, augmentation, losses)

As many steps as `order` (batch, steps) has, on batches of its size that Knet draws by itself.
"""
function train(split, order, rates, augmentation, losses)
    isempty(augmentation) ||
        error("Knet's tutorial augments no images: leave --shift and --flip out")
    now = CURRENT[]
    Received.keep!(now.received, order, rates, augmentation)
    x, y = tensors(now.splits[split])
    batches = Iterators.take(minibatch(x, y, size(order, 1); shuffle = true), length(losses))
    steps = optimise(objective(now), batches, rates[1], now.settings)
    for (step, loss) in enumerate(progress(steps; seconds = 10))
        losses[step] = loss
        step == length(rates) && break
        foreach(param -> param.opt.lr = rates[step+1], now.parameters)
    end
    return nothing
end

"See `PipelineBenchKnet.precompile_workload`."
function precompile_workload()
    build(
        "lenet5", "tanh", "average", 16, 16, 1, 2, "float32", [0.5], [0.5], Float64[], "sgd",
        0.9, 0.9, 0.999, 1e-8, 0.0,
    )
    reset_optimizer()
    hand_over("train", zeros(UInt8, 16, 16, 1, 4), zeros(UInt8, 4))
    train("train", zeros(Int, 4, 1), zeros(1), zeros(Int, 0, 4, 1), zeros(1))
    empty!(PREPARED)
    CURRENT[] = nothing
end

end
