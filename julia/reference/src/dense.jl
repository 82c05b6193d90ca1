"All features of an image in one column: (W, H, C, N) to (W * H * C, N)."
function mat(x::Variable{T,4}) where {T}
    features = stride(x.value, 4)
    y = Variable(x.tape, reshape(read(x), features, size(x, 4)))
    return record!(y) do
        if x.gradient === nothing
            x.gradient = reshape(y.gradient, size(x.value))
        else
            x.gradient .+= reshape(y.gradient, size(x.value))
        end
    end
end

mat(x::Variable{T,2}) where {T} = x

function Base.:*(w::Param{T,2}, x::Variable{T,2}) where {T}
    input = read(x)
    outputs, features = size(w)
    images = size(input, 2)
    features == size(input, 1) ||
        throw(DimensionMismatch("weights for $features features, $(size(input, 1)) came"))
    y = fresh(x, (outputs, images))
    multiply!(y.value, 'N', w.value, 'N', input, outputs, images, features, zero(T))
    return record!(y) do
        dw = gradient!(x.tape, w)
        multiply!(dw, 'N', y.gradient, 'T', input, outputs, features, images, one(T))
        if x.differentiable
            dx, keep = gradient!(x)
            multiply!(dx, 'T', w.value, 'N', y.gradient, features, images, outputs, keep)
        end
    end
end

"`c <- op(a) op(b) + keep c`, c of m x n, k sums."
function multiply!(c::Array{T}, ta, a::Array{T}, tb, b::Array{T}, m, n, k, keep) where {T}
    GC.@preserve a b c gemm!(
        ta, tb, m, n, k, one(T), pointer(a), size(a, 1), pointer(b), size(b, 1), keep,
        pointer(c), m,
    )
    return c
end
