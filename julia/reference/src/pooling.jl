"""
    pool(x; window = 2, stride = window, padding = 0, mode = 0)

Pooling of images (W, H, C, N), as Knet counts modes: 0 the largest, 1 the mean, 2 the mean of
the pixels that lie inside the image. Without padding 1 and 2 are the same, and with it 1 is
refused: it would count pixels that are not there.
"""
function pool(x::Variable{T,4}; window = 2, stride = window, padding = 0, mode = 0) where {T}
    mode in (0, 2) || mode == 1 && pair(padding) == (0, 0) ||
        throw(ArgumentError("pooling mode $mode with padding $padding is not known here"))
    input = read(x)
    geometry = Window(size(input)[1:2], pair(window), padding, stride)
    y = fresh(x, (geometry.output..., size(input, 3), size(input, 4)))
    tiles = geometry.kernel == geometry.stride == (2, 2) && geometry.padding == (0, 0)
    if mode == 0
        indices = x.tape.recording ? borrow!(x.tape.arena, Int32, size(y)) : nothing
        tiles ? max_tiles!(y.value, indices, input, geometry) :
        max_pool!(y.value, indices, input, geometry)
        return record!(y) do
            max_pool_back!(x, y.gradient, indices)
        end
    end
    tiles ? mean_tiles!(y.value, input, geometry) : mean_pool!(y.value, input, geometry)
    return record!(y) do
        tiles ? mean_tiles_back!(x, y.gradient, geometry) :
        mean_pool_back!(x, y.gradient, geometry)
    end
end

"The pixels under one output along one side: first and last, inside the image."
reach(o, input, kernel, padding, stride) =
    max(1, (o - 1) * stride - padding + 1), min(input, (o - 1) * stride - padding + kernel)

reaches(w::Window, wo, ho) = (
    reach(wo, w.input[1], w.kernel[1], w.padding[1], w.stride[1])...,
    reach(ho, w.input[2], w.kernel[2], w.padding[2], w.stride[2])...,
)

# `indices` holds where each largest value was, counted in the whole array: among equals the first
# in the order of rows, as in PyTorch.
function max_pool!(y::Array{T,4}, indices, x::Array{T,4}, window) where {T}
    (W, H), (WO, HO) = window.input, window.output
    at = 0
    @inbounds for image in 0:size(x, 3)*size(x, 4)-1, ho in 1:HO, wo in 1:WO
        left, right, top, bottom = reaches(window, wo, ho)
        index = image * W * H + (top - 1) * W + left
        for h in top:bottom, w in left:right
            here = image * W * H + (h - 1) * W + w
            index = ifelse(x[here] > x[index], here, index)
        end
        at += 1
        y[at] = x[index]
        indices === nothing || (indices[at] = index)
    end
    return y
end

function max_tiles!(y::Array{T,4}, indices, x::Array{T,4}, window) where {T}
    (W, H), (WO, HO) = window.input, window.output
    at = 0
    @inbounds for image in 0:size(x, 3)*size(x, 4)-1, ho in 1:HO
        row = image * W * H + 2 * (ho - 1) * W
        @simd ivdep for wo in 1:WO
            a = row + 2wo - 1
            index, largest = a, x[a]
            for b in (a + 1, a + W, a + W + 1)
                index = ifelse(x[b] > largest, b, index)
                largest = ifelse(x[b] > largest, x[b], largest)
            end
            y[at+wo] = largest
            indices === nothing || (indices[at+wo] = index % Int32)
        end
        at += WO
    end
    return y
end

function max_pool_back!(x::Variable{T,4}, dy::Array{T,4}, indices) where {T}
    dx, keep = gradient!(x)
    keep == 1 || fill!(dx, zero(T))
    @inbounds for at in eachindex(dy)
        dx[indices[at]] += dy[at]
    end
    return nothing
end

function mean_pool!(y::Array{T,4}, x::Array{T,4}, window) where {T}
    (W, H), (WO, HO) = window.input, window.output
    at = 0
    @inbounds for image in 0:size(x, 3)*size(x, 4)-1, ho in 1:HO, wo in 1:WO
        left, right, top, bottom = reaches(window, wo, ho)
        sum = zero(T)
        for h in top:bottom, w in left:right
            sum += x[image*W*H+(h-1)*W+w]
        end
        at += 1
        y[at] = sum / ((right - left + 1) * (bottom - top + 1))
    end
    return y
end

function mean_pool_back!(x::Variable{T,4}, dy::Array{T,4}, window) where {T}
    dx, keep = gradient!(x)
    keep == 1 || fill!(dx, zero(T))
    (W, H), (WO, HO) = window.input, window.output
    at = 0
    @inbounds for image in 0:size(dx, 3)*size(dx, 4)-1, ho in 1:HO, wo in 1:WO
        left, right, top, bottom = reaches(window, wo, ho)
        at += 1
        share = dy[at] / ((right - left + 1) * (bottom - top + 1))
        for h in top:bottom, w in left:right
            dx[image*W*H+(h-1)*W+w] += share
        end
    end
    return nothing
end

function mean_tiles!(y::Array{T,4}, x::Array{T,4}, window) where {T}
    (W, H), (WO, HO) = window.input, window.output
    at = 0
    @inbounds for image in 0:size(x, 3)*size(x, 4)-1, ho in 1:HO
        row = image * W * H + 2 * (ho - 1) * W
        @simd ivdep for wo in 1:WO
            a = row + 2wo - 1
            y[at+wo] = (x[a] + x[a+1] + x[a+W] + x[a+W+1]) / 4
        end
        at += WO
    end
    return y
end

function mean_tiles_back!(x::Variable{T,4}, dy::Array{T,4}, window) where {T}
    dx, keep = gradient!(x)
    (W, H), (WO, HO) = window.input, window.output
    # What no tile covers gets nothing.
    keep == 1 || (W, H) == (2WO, 2HO) || fill!(dx, zero(T))
    at = 0
    @inbounds for image in 0:size(dx, 3)*size(dx, 4)-1, ho in 1:HO
        row = image * W * H + 2 * (ho - 1) * W
        if keep == 1
            for wo in 1:WO, index in (row + 2wo - 1, row + 2wo - 1 + W)
                dx[index] += dy[at+wo] / 4
                dx[index+1] += dy[at+wo] / 4
            end
        else
            @simd ivdep for wo in 1:WO
                a = row + 2wo - 1
                share = dy[at+wo] / 4
                dx[a] = share
                dx[a+1] = share
                dx[a+W] = share
                dx[a+W+1] = share
            end
        end
        at += WO
    end
    return nothing
end
