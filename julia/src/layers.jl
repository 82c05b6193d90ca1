"Convolution, bias unless there is none, activation. `w` is (KW, KH, I, O), `b` (1, 1, O, 1)."
struct Conv
    w
    b
    f
    padding
    stride
end

function Conv(T, kernel, channels; f = identity, padding = 0, stride = 1, bias = true)
    b = bias ? Param(zeros(T, 1, 1, channels[2], 1)) : nothing
    return Conv(Param(zeros(T, kernel, kernel, channels...)), b, f, padding, stride)
end

function (layer::Conv)(x)
    y = conv4(layer.w, x; padding = layer.padding, stride = layer.stride, mode = 1)
    return layer.b === nothing ? layer.f.(y) : layer.f.(y .+ layer.b)
end

"""
Batch normalisation (Ioffe & Szegedy 2015), activation: scale `w` (C,), shift `b` (C,), and the
running statistics (C,) that evaluation uses.
"""
struct BatchNorm
    w
    b
    running_mean
    running_var
    f
end

BatchNorm(T, channels; f = identity) = BatchNorm(
    Param(ones(T, channels)), Param(zeros(T, channels)), zeros(T, channels), ones(T, channels), f,
)

(layer::BatchNorm)(x) =
    layer.f.(batchnorm(x, layer.w, layer.b, layer.running_mean, layer.running_var))

"Dense layer. `w` is (O, I), `b` (O,)."
struct Dense
    w
    b
    f
end

Dense(T, features; f = identity) =
    Dense(Param(zeros(T, reverse(features)...)), Param(zeros(T, features[2])), f)

(layer::Dense)(x) = layer.f.(layer.w * mat(x) .+ layer.b)

"Mean (mode 1) or largest (mode 0) of the pixels in a window."
struct Pool
    mode
    window
    stride
    padding
end

Pool(mode; window = 2, stride = 2, padding = 0) = Pool(mode, window, stride, padding)

(layer::Pool)(x) = pool(
    x; window = layer.window, stride = layer.stride, padding = layer.padding, mode = layer.mode,
)

"Mean of every feature map: (W, H, C, N) to (1, 1, C, N)."
average(x) = pool(x; window = size(x)[1:2], mode = 1)

"One layer after the other."
chain(layers, x) = foldl((y, layer) -> layer(y), layers; init = x)

activation(name) = name == "tanh" ? tanh : name == "relu" ? relu : error("no activation $name")
pooling(name) = Pool(name == "max" ? 0 : name == "average" ? 1 : error("no pooling $name"))

const NAMES = Dict(:w => "weight", :b => "bias")

"""
    arrays(network) -> [name => param or array]

By the names of the model cards: the fields on the way, positions in a tuple counted from 0, and
`weight` and `bias` for w and b. Running statistics are plain arrays among them.
"""
function arrays(network)
    found = Pair{String,Any}[]
    for (name, field) in named(network)
        if field isa Union{Param,Array}
            push!(found, name => field)
        else
            append!(found, ["$name.$inner" => array for (inner, array) in arrays(field)])
        end
    end
    return found
end

named(network) = [
    get(NAMES, name, String(name)) => getfield(network, name) for
    name in fieldnames(typeof(network))
]
named(layers::Tuple) = [string(position - 1) => layer for (position, layer) in enumerate(layers)]
named(::Union{Function,Number,Nothing}) = ()

# The canonical layout of a dense layer is (O, I) in C order, which is (I, O) here; convolutions
# and whatever has one number a channel are the same memory in both.
canonical!(out::Array, array::Array{T,2}) where {T} = copyto!(out, permutedims(array))
canonical!(out::Array, array::Array) = copyto!(out, array)
from_canonical!(array::Array{T,2}, given::Array) where {T} = copyto!(array, permutedims(given))
from_canonical!(array::Array, given::Array) = copyto!(array, given)
