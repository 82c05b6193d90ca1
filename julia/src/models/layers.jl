"Convolution, bias, activation. `w` is (KW, KH, I, O), `b` (1, 1, O, 1)."
struct Conv
    w
    b
    f
    padding
end

Conv(T, kernel, channels; f = identity, padding = 0) = Conv(
    Param(zeros(T, kernel, kernel, channels...)), Param(zeros(T, 1, 1, channels[2], 1)), f, padding,
)

(layer::Conv)(x) = layer.f.(conv4(layer.w, x; padding = layer.padding, mode = 1) .+ layer.b)

"Dense layer. `w` is (O, I), `b` (O,)."
struct Dense
    w
    b
    f
end

Dense(T, features; f = identity) =
    Dense(Param(zeros(T, reverse(features)...)), Param(zeros(T, features[2])), f)

(layer::Dense)(x) = layer.f.(layer.w * mat(x) .+ layer.b)

"Mean (mode 1) or largest (mode 0) of 2x2 pixels."
struct Pool
    mode
end

(layer::Pool)(x) = pool(x; window = 2, mode = layer.mode)

activation(name) = Dict("tanh" => tanh, "relu" => relu)[name]
pooling(name) = Pool(Dict("max" => 0, "average" => 1)[name])

"""
    parameters(network) -> [name => param]

By the names of the model cards: the fields on the way, and `weight` and `bias` for w and b.
"""
function parameters(network)
    found = Pair{String,Any}[]
    for name in fieldnames(typeof(network))
        field = getfield(network, name)
        if field isa Param
            push!(found, Dict(:w => "weight", :b => "bias")[name] => field)
        else
            append!(found, ["$name.$inner" => param for (inner, param) in parameters(field)])
        end
    end
    return found
end

parameters(::Union{Function,Number}) = Pair{String,Any}[]

# The canonical layout of a dense layer is (O, I) in C order, which is (I, O) here; convolutions
# and biases are the same memory in both.
canonical!(out::Array, array::Array{T,2}) where {T} = copyto!(out, permutedims(array))
canonical!(out::Array, array::Array) = copyto!(out, array)
from_canonical!(array::Array{T,2}, given::Array) where {T} = copyto!(array, permutedims(given))
from_canonical!(array::Array, given::Array) = copyto!(array, given)
