# Convolution of stride 1 without columns.
#
# Pad an image and lay its rows end to end, `pitch` pixels each. Output pixel p, counted with the
# same pitch, then takes tap (kw, kh) from pixel p + kw + pitch kh for every p alike: a convolution
# is a sum of shifted vectors, and what it computes past the end of a row is dropped. Sums of two
# vectors of pixels for six channels stay in registers over all taps: the register tile of a matrix
# product without its packing (Zhang, Franchetti & Low 2018, High Performance Zero-Memory Overhead
# Direct Convolutions).

const CHANNELS = 6  # of a register tile; with two vectors of pixels 12 sums in 16 registers

"`array` with room for `count`; its old contents are lost when it has to grow."
room!(array, count) = length(array) < count ? resize!(array, count) : array

"`count` rounded up to a multiple of `N`: what starts there is aligned if the array is."
whole(count, N) = cld(count, N) * N

"Where everything lies: pixels of a padded image and of an output, both at one pitch."
struct Layout
    window::Window
    pitch::Int
    plane::Int  # of a padded image
    span::Int  # from the first tap to the last
    reach::Int  # the same, rounded up to whole vectors
    count::Int  # of output pixels, to the last one that is kept
    slack::Int  # pixels that whole pairs of vectors may touch beyond their last
    gradients::Int  # of a plane of gradients: `reach` zeros, the gradients, and zeros to the end
end

function Layout(window::Window, ::Val{N}) where {N}
    pitch, rows = window.input .+ 2 .* window.padding
    span = (window.kernel[2] - 1) * pitch + window.kernel[1] - 1
    reach = whole(span, N)
    count = (window.output[2] - 1) * pitch + window.output[1]
    gradients = whole(reach + pitch * rows + 2N, N)
    return Layout(window, pitch, pitch * rows, span, reach, count, reach + 2N, gradients)
end

direct(w::Window) = w.stride == (1, 1) && w.kernel != (1, 1)

function convolve_direct!(y::Array{T,4}, w, x, window, tape) where {T}
    return convolve_direct!(lanes(T), y, w, x, window, tape.scratch)
end

function convolve_direct!(
    lanes::Val, y::Array{T,4}, w::Array{T,4}, x::Array{T,4}, window, scratch::Scratch{T},
) where {T}
    layout = Layout(window, lanes)
    images = pad!(scratch, x, layout)
    offsets = offsets!(scratch, layout, size(x, 3), layout.plane)
    step = size(x, 3) * layout.plane
    kept = Kept(0, layout.pitch, window.output..., false)
    GC.@preserve images correlate!(
        lanes, y, pointer(images), step, layout.count, offsets, w, kept, scratch,
    )
    return y
end

function convolve_direct_back!(dy::Array{T,4}, kernel, x, window) where {T}
    return convolve_direct_back!(lanes(T), dy, kernel, x, window, x.tape.scratch)
end

function convolve_direct_back!(
    lanes::Val, dy::Array{T,4}, kernel::Param{T,4}, x::Variable{T,4}, window, scratch::Scratch{T},
) where {T}
    layout = Layout(window, lanes)
    images = pad!(scratch, x.value, layout)
    gradients = spread!(scratch, dy, layout)
    offsets = offsets!(scratch, layout, size(x.value, 3), layout.plane)
    dw = gradient!(x.tape, kernel)
    correlate_kernels!(lanes, dw, offsets, images, gradients, layout, size(dy, 4))
    x.differentiable || return nothing

    # The gradient of the input is the correlation of the gradients with kernels turned round, which
    # begins before the gradients by as much as the kernel spans.
    dx, keep = gradient!(x)
    offsets = offsets!(scratch, layout, size(dy, 3), layout.gradients)
    step = size(dy, 3) * layout.gradients
    start = layout.reach - layout.span
    inner = window.padding[2] * layout.pitch + window.padding[1]
    kept = Kept(inner, layout.pitch, window.input..., keep == 1)
    kernels = turn!(scratch, kernel.value)
    GC.@preserve gradients correlate!(
        lanes, dx, pointer(gradients, start + 1), step, layout.plane, offsets, kernels, kept,
        scratch,
    )
    return nothing
end

"Padded planes of all images of `x`, one after the other, and zeros after the last."
function pad!(scratch::Scratch{T}, x::Array{T,4}, layout::Layout) where {T}
    (W, H), (PW, PH) = layout.window.input, layout.window.padding
    planes = size(x, 3) * size(x, 4)
    pixels = planes * layout.plane
    images = room!(scratch.images, pixels + layout.slack)
    # Vectors reach beyond the last image; what they find there must be a number.
    fill!(view(images, ((PW, PH) == (0, 0) ? pixels + 1 : 1):pixels+layout.slack), zero(T))
    for plane in 0:planes-1
        at = plane * layout.plane + PH * layout.pitch + PW
        copy_rows!(images, at, layout.pitch, x, plane * W * H, W, W, H)
    end
    return images
end

"Planes of gradients of the output at the pitch of the padded images, zero elsewhere."
function spread!(scratch::Scratch{T}, dy::Array{T,4}, layout::Layout) where {T}
    WO, HO = layout.window.output
    planes = size(dy, 3) * size(dy, 4)
    gradients = room!(scratch.gradients, planes * layout.gradients + layout.slack)
    fill!(view(gradients, 1:planes*layout.gradients+layout.slack), zero(T))
    for plane in 0:planes-1
        at = plane * layout.gradients + layout.reach
        copy_rows!(gradients, at, layout.pitch, dy, plane * WO * HO, WO, WO, HO)
    end
    return gradients
end

"Copy rows of `width` pixels from one pitch to another."
@inline function copy_rows!(to, at, to_pitch, from, start, from_pitch, width, rows)
    @inbounds for row in 0:rows-1
        @simd ivdep for i in 1:width
            to[at+row*to_pitch+i] = from[start+row*from_pitch+i]
        end
    end
end

"""
Offsets of the taps of `channels` planes that lie `plane` pixels apart. They rise: on a Zen 4 the
same loads in falling order took three times as long.
"""
function offsets!(scratch::Scratch{T}, layout::Layout, channels, plane) where {T}
    KW, KH = layout.window.kernel
    offsets = resize!(scratch.offsets, KW * KH * channels)
    at = 0
    for c in 0:channels-1, kh in 0:KH-1, kw in 0:KW-1
        at += 1
        offsets[at] = (c * plane + kh * layout.pitch + kw) * sizeof(T)
    end
    return offsets
end

"Kernels (KW, KH, I, O) turned round, as a matrix of taps (KW, KH, O) by input channels."
function turn!(scratch::Scratch{T}, w::Array{T,4}) where {T}
    area = size(w, 1) * size(w, 2)
    kernels = room!(scratch.kernels, length(w))
    @inbounds for o in 0:size(w, 4)-1, c in 0:size(w, 3)-1, k in 1:area
        kernels[(c*size(w, 4)+o)*area+k] = w[(o*size(w, 3)+c+1)*area+1-k]
    end
    return kernels
end

"Of a result: `rows` of `width` pixels, `pitch` apart, after `start`; added to the array or not."
struct Kept
    start::Int
    pitch::Int
    width::Int
    rows::Int
    added::Bool
end

"""
    correlate!(lanes, y, x, step, count, offsets, w, kept, scratch)

`y[p, o] = sum over k of x[p + offsets[k]] w[k, o]` for pixels p in 0:count-1, rounded up to whole
pairs of vectors, of every image of y (width, rows, outputs, images). `x` points at pixel 0 of the
first image; images are `step` pixels apart.
"""
function correlate!(
    lanes::Val{N}, y::Array{T,4}, x::Ptr{T}, step, count, offsets, w, kept, scratch,
) where {N,T}
    wide = room!(scratch.wide, CHANNELS * (count + 2N))
    for first in 0:CHANNELS:size(y, 3)-1
        # Dispatch here, once for many tiles: only those that occur are compiled.
        tile = Val(min(CHANNELS, size(y, 3) - first))
        correlate_group!(lanes, tile, y, first, x, step, count, offsets, w, kept, wide)
    end
end

function correlate_group!(
    lanes::Val{N}, tile::Val{C}, y::Array{T,4}, first, x::Ptr{T}, step, count,
    offsets::Vector{Int}, w::Array{T}, kept, wide::Vector{T},
) where {N,C,T}
    taps, plane = length(offsets), count + 2N
    GC.@preserve offsets w wide for n in 0:size(y, 4)-1
        image = x + n * step * sizeof(T)
        for p in 0:2N:count-1
            correlate_tile!(
                lanes, tile, pointer(wide, p + 1), plane, image + p * sizeof(T),
                pointer(offsets), taps, pointer(w, first * taps + 1),
            )
        end
        for c in 0:C-1
            at = (n * size(y, 3) + first + c) * kept.width * kept.rows
            keep_rows!(y, at, wide, c * plane + kept.start, kept)
        end
    end
end

@inline function keep_rows!(to, at, from, start, kept)
    width, rows, pitch = kept.width, kept.rows, kept.pitch
    kept.added || return copy_rows!(to, at, width, from, start, pitch, width, rows)
    @inbounds for row in 0:rows-1
        @simd ivdep for i in 1:width
            to[at+row*width+i] += from[start+row*pitch+i]
        end
    end
end

@generated function correlate_tile!(
    ::Val{N}, ::Val{C}, y::Ptr{T}, plane::Int, x::Ptr{T}, offsets::Ptr{Int}, taps::Int, w::Ptr{T},
) where {N,C,T}
    L = Lanes{N,T}
    sums = [Symbol(:sum, m, :_, c) for m in 1:2, c in 1:C]
    steps = map(1:C) do c
        quote
            weight = splat($L, unsafe_load(w, k + $(c - 1) * taps))
            $(sums[1, c]) = vmuladd(left, weight, $(sums[1, c]))
            $(sums[2, c]) = vmuladd(right, weight, $(sums[2, c]))
        end
    end
    stores = map(1:C) do c
        quote
            vstore!(y + $(c - 1) * plane * sizeof(T), $(sums[1, c]))
            vstore!(y + $(c - 1) * plane * sizeof(T) + sizeof($L), $(sums[2, c]))
        end
    end
    return quote
        $(Expr(:meta, :inline))
        $([:($sum = splat($L, zero(T))) for sum in sums]...)
        for k in 1:taps
            from = x + unsafe_load(offsets, k)
            left, right = vload($L, from), vload($L, from + sizeof($L))
            $(steps...)
        end
        $(stores...)
        return nothing
    end
end

"""
Add to `dw[k, o]` the products of all images, shifted by tap k, with the gradients of output o. Sums
stay in registers from the first image to the last.
"""
function correlate_kernels!(lanes::Val, dw, offsets, images, gradients, layout, count)
    for first in 0:CHANNELS:size(dw, 4)-1
        tile = Val(min(CHANNELS, size(dw, 4) - first))
        kernel_group!(lanes, tile, dw, first, offsets, images, gradients, layout, count)
    end
end

function kernel_group!(
    lanes::Val, tile::Val, dw::Array{T,4}, first, offsets::Vector{Int}, images::Vector{T},
    gradients::Vector{T}, layout, count,
) where {T}
    taps = length(offsets)
    GC.@preserve dw images gradients for k in 0:2:taps-1
        # The last of an odd number of taps is computed twice and kept once.
        kernel_tile!(
            lanes, tile, pointer(dw, first * taps + k + 1), taps, k + 1 < taps,
            pointer(images) + offsets[k+1], pointer(images) + offsets[min(k + 2, taps)],
            size(dw, 3) * layout.plane,
            pointer(gradients, first * layout.gradients + layout.reach + 1),
            layout.gradients, size(dw, 4) * layout.gradients, layout.count, count,
        )
    end
end

@generated function kernel_tile!(
    ::Val{N}, ::Val{C}, dw::Ptr{T}, taps::Int, both::Bool, one::Ptr{T}, two::Ptr{T}, image::Int,
    gradients::Ptr{T}, plane::Int, step::Int, pixels::Int, count::Int,
) where {N,C,T}
    L = Lanes{N,T}
    sums = [Symbol(:sum, m, :_, c) for m in 1:2, c in 1:C]
    steps = map(1:C) do c
        quote
            gradient = vload($L, from + ($(c - 1) * plane + p) * sizeof(T))
            $(sums[1, c]) = vmuladd(left, gradient, $(sums[1, c]))
            $(sums[2, c]) = vmuladd(right, gradient, $(sums[2, c]))
        end
    end
    stores = map(1:C) do c
        quote
            at = $(c - 1) * taps + 1
            unsafe_store!(dw, unsafe_load(dw, at) + vsum($(sums[1, c])), at)
            both && unsafe_store!(dw, unsafe_load(dw, at + 1) + vsum($(sums[2, c])), at + 1)
        end
    end
    return quote
        $(Expr(:meta, :inline))
        $([:($sum = splat($L, zero(T))) for sum in sums]...)
        for n in 0:count-1
            from = gradients + n * step * sizeof(T)
            a, b = one + n * image * sizeof(T), two + n * image * sizeof(T)
            for p in 0:N:pixels-1
                left, right = vload($L, a + p * sizeof(T)), vload($L, b + p * sizeof(T))
                $(steps...)
            end
        end
        $(stores...)
        return nothing
    end
end
