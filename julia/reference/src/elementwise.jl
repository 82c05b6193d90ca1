# Written with dots in the models (`f.(y .+ b)`); each dot is an operation of its own here and
# works in place.

relu(x) = max(x, zero(x))

# Julia gives dotted calls to `broadcasted` first; a `Variable` takes them over there.
Base.Broadcast.broadcastable(x::Union{Variable,Param}) = x
Base.Broadcast.broadcasted(::typeof(+), y::Variable, b::Param) = add_bias!(y, b)
Base.Broadcast.broadcasted(::typeof(+), x::Variable, y::Variable) = add(x, y)
Base.Broadcast.broadcasted(::typeof(tanh), y::Variable) = activate!(Tanh(), y)
Base.Broadcast.broadcasted(::typeof(relu), y::Variable) = activate!(Relu(), y)
Base.Broadcast.broadcasted(::typeof(identity), y::Variable) = y
Base.Broadcast.materialize(x::Variable) = x

"Add one number for each channel (the last axis but one) or each feature (the first of two)."
function add_bias!(x::Variable{T,N}, b::Param{T}) where {T,N}
    y = overwrite!(x)
    channels = length(b.value)
    inner = N == 4 ? stride(y.value, 3) : 1
    channels == size(y.value, N == 4 ? 3 : 1) ||
        throw(DimensionMismatch("$channels biases for an array of size $(size(y))"))
    add_bias!(y.value, b.value, inner, channels)
    return record!(y) do
        x.gradient = y.gradient
        sum_bias!(gradient!(y.tape, b), y.gradient, inner, channels)
    end
end

function add_bias!(y::Array{T}, b::Array{T}, inner, channels) where {T}
    @inbounds for block in 0:length(y)÷inner-1
        bias = b[block%channels+1]
        @simd ivdep for i in block*inner+1:(block+1)*inner
            y[i] += bias
        end
    end
    return y
end

function sum_bias!(db::Array{T}, dy::Array{T}, inner, channels) where {T}
    @inbounds for block in 0:length(dy)÷inner-1
        sum = zero(T)
        @simd for i in block*inner+1:(block+1)*inner
            sum += dy[i]
        end
        db[block%channels+1] += sum
    end
    return db
end

"An activation whose derivative is a function of its own value."
abstract type Activation end
struct Tanh <: Activation end
struct Relu <: Activation end

@inline forward(::Tanh, x) = fast_tanh(x)
@inline derivative(::Tanh, y) = one(y) - y * y
@inline forward(::Relu, x) = relu(x)
@inline derivative(::Relu, y) = ifelse(y > zero(y), one(y), zero(y))

function activate!(f::Activation, x::Variable)
    y = overwrite!(x)
    activate!(f, y.value)
    return record!(y) do
        x.gradient = y.gradient
        multiply_by_derivative!(f, y.gradient, y.value)
    end
end

function activate!(f::Activation, y::Array)
    @inbounds @simd for i in eachindex(y)
        y[i] = forward(f, y[i])
    end
    return y
end

function multiply_by_derivative!(f::Activation, dy::Array{T}, y::Array{T}) where {T}
    @inbounds @simd ivdep for i in eachindex(y)
        dy[i] *= derivative(f, y[i])
    end
    return dy
end

fast_tanh(x) = tanh(x)

"""
Hyperbolic tangent in single precision, by the rational approximation of Eigen's
`generic_fast_tanh_float` (13/6, a few units in the last place): no branches, so it runs on whole
vectors, where `Base.tanh` goes one number at a time.
"""
@inline function fast_tanh(x::Float32)
    x = min(max(x, -7.90531110763549805f0), 7.90531110763549805f0)
    s = x * x
    p = muladd(s, -2.76076847742355f-16, 2.00018790482477f-13)
    p = muladd(s, p, -8.60467152213735f-11)
    p = muladd(s, p, 5.12229709037114f-08)
    p = muladd(s, p, 1.48572235717979f-05)
    p = muladd(s, p, 6.37261928875436f-04)
    p = muladd(s, p, 4.89352455891786f-03)
    q = muladd(s, 1.19825839466702f-06, 1.18534705686654f-04)
    q = muladd(s, q, 2.26843463243900f-03)
    q = muladd(s, q, 4.89352518554385f-03)
    return x * p / q
end

function add(x::Variable{T,N}, y::Variable{T,N}) where {T,N}
    a, b = read(x), read(y)
    size(a) == size(b) || throw(DimensionMismatch("sum of arrays $(size(a)) and $(size(b))"))
    z = fresh(x, size(a))
    z.value .= a .+ b
    return record!(z) do
        for operand in (x, y)
            gradient, keep = gradient!(operand)
            keep == 1 ? (gradient .+= z.gradient) : copyto!(gradient, z.gradient)
        end
    end
end
