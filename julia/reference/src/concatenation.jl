"Images (W, H, C, N) with the channels of all of `xs`, one after the other; `dims` is 3."
function Base.cat(xs::Variable{T,4}...; dims) where {T}
    dims == 3 || throw(ArgumentError("images are joined along their channels, dims = 3"))
    arrays = read.(xs)
    width, height, _, images = size(arrays[1])
    all(a -> size(a)[[1, 2, 4]] == (width, height, images), arrays) ||
        throw(DimensionMismatch("images of sizes $(join(size.(arrays), ", ")) side by side"))
    y = fresh(xs[1], (width, height, sum(a -> size(a, 3), arrays), images))
    whole = stride(y.value, 4)
    at = 0
    for array in arrays
        part = stride(array, 4)
        for n in 0:images-1
            copyto!(y.value, n * whole + at + 1, array, n * part + 1, part)
        end
        at += part
    end
    return record!(y) do
        at = 0
        for x in xs
            dx, keep = gradient!(x)
            part = stride(dx, 4)
            for n in 0:images-1
                back!(dx, n * part, y.gradient, n * whole + at, part, keep)
            end
            at += part
        end
    end
end

"`to[i] = from[i] + keep to[i]` for `count` numbers after the two offsets."
function back!(to::Array{T}, first, from::Array{T}, start, count, keep) where {T}
    keep == 0 && return copyto!(to, first + 1, from, start + 1, count)
    @inbounds @simd ivdep for i in 1:count
        to[first+i] += from[start+i]
    end
    return to
end
