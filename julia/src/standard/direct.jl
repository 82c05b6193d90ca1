# Convolution of stride 1 without columns.
#
# Pad an image and lay its rows end to end, `pitch` pixels each. Output pixel p, counted with the
# same pitch, then takes tap (kw, kh) from pixel p + kw + pitch kh for every p alike: a convolution
# is a sum of shifted vectors, and what it computes past the end of a row is dropped. Sums of two
# vectors of pixels for six channels stay in registers over all taps (the register tile of a matrix
# product, without its packing: see Zhang, Franchetti & Low 2018, High Performance Zero-Memory
# Overhead Direct Convolutions).

const CHANNELS = 6  # of a register tile; with two vectors of pixels 12 sums in 16 registers

"Arrays that direct convolutions work in, of one thread."
mutable struct Scratch{T}
    images::Vector{T}  # padded
    slopes::Vector{T}  # of the output, at the pitch of the padded images, zero between rows
    wide::Vector{T}  # outputs with what is dropped
    kernels::Vector{T}
    offsets::Vector{Int}  # in bytes, one for each tap
end

Scratch{T}() where {T} = Scratch{T}(T[], T[], T[], T[], Int[])

"`array` with room for `count`, its old contents lost when it had to grow; new memory is zero."
function room!(array::Vector{T}, count) where {T}
    if length(array) < count
        resize!(array, count)
        fill!(array, zero(T))
    end
    return array
end

"Where everything lies: pixels of a padded image and of an output, both at one pitch."
struct Layout
    window::Window
    pitch::Int
    plane::Int  # of a padded image
    reach::Int  # from the first tap to the last, rounded up to whole vectors
    count::Int  # of output pixels, to the last one that is kept
    wide::Int  # of an output plane, with room for whole vectors
end

"`count` rounded up to a multiple of `N`: what starts there is aligned if the array is."
whole(count, N) = cld(count, N) * N

function Layout(window::Window, ::Val{N}) where {N}
    pitch, rows = window.input .+ 2 .* window.padding
    reach = whole((window.kernel[2] - 1) * pitch + window.kernel[1] - 1, N)
    count = (window.output[2] - 1) * pitch + window.output[1]
    return Layout(window, pitch, pitch * rows, reach, count, count + 2N)
end

direct(w::Window) = w.stride == (1, 1) && w.kernel != (1, 1)

"Copy rows of `width` pixels from one pitch to another."
@inline function copy_rows!(to, at, to_pitch, from, start, from_pitch, width, rows)
    @inbounds for row in 0:rows-1
        @simd ivdep for i in 1:width
            to[at+row*to_pitch+i] = from[start+row*from_pitch+i]
        end
    end
end

"""
Padded planes of all images of `x`, one after the other; returns what a plane takes. What lies
between the images and after the last stays zero.
"""
function pad!(scratch::Scratch{T}, x::Array{T,4}, layout::Layout) where {T}
    (W, H), (PW, PH) = layout.window.input, layout.window.padding
    planes = size(x, 3) * size(x, 4)
    images = room!(scratch.images, planes * layout.plane + layout.wide + layout.reach)
    padded = (PW, PH) != (0, 0)
    padded && fill!(view(images, 1:planes*layout.plane), zero(T))
    for plane in 0:planes-1
        at = plane * layout.plane + PH * layout.pitch + PW
        copy_rows!(images, at, layout.pitch, x, plane * W * H, W, W, H)
    end
    # Vectors reach beyond the last image; what they find there must be a number.
    fill!(view(images, planes*layout.plane+1:planes*layout.plane+layout.wide+layout.reach), zero(T))
    return images
end

"Offsets of the taps of `channels` planes that lie `plane` pixels apart."
function offsets!(scratch::Scratch{T}, layout::Layout, channels, plane, sign) where {T}
    KW, KH = layout.window.kernel
    offsets = resize!(scratch.offsets, KW * KH * channels)
    at = 0
    for c in 0:channels-1, kh in 0:KH-1, kw in 0:KW-1
        at += 1
        offsets[at] = (c * plane + sign * (kh * layout.pitch + kw)) * sizeof(T)
    end
    return offsets
end

"""
    correlate!(lanes, y, wide, x, count, offsets, w, outputs)

`y[p, o] = sum over k of x[p + offsets[k]] w[k, o]` for pixels p in 0:count-1, rounded up to whole
pairs of vectors; planes of y lie `wide` apart.
"""
@inline function correlate!(
    lanes::Val{N}, y::Ptr{T}, wide, x::Ptr{T}, count, offsets::Vector{Int}, w::Ptr{T}, outputs,
) where {N,T}
    taps = length(offsets)
    GC.@preserve offsets for p in 0:2N:count-1, first in 0:CHANNELS:outputs-1
        from, to = x + p * sizeof(T), y + (first * wide + p) * sizeof(T)
        kernel, table = w + first * taps * sizeof(T), pointer(offsets)
        left = min(CHANNELS, outputs - first)
        if left == 6
            correlate_tile!(lanes, Val(6), to, wide, from, table, taps, kernel)
        elseif left == 5
            correlate_tile!(lanes, Val(5), to, wide, from, table, taps, kernel)
        elseif left == 4
            correlate_tile!(lanes, Val(4), to, wide, from, table, taps, kernel)
        elseif left == 3
            correlate_tile!(lanes, Val(3), to, wide, from, table, taps, kernel)
        elseif left == 2
            correlate_tile!(lanes, Val(2), to, wide, from, table, taps, kernel)
        else
            correlate_tile!(lanes, Val(1), to, wide, from, table, taps, kernel)
        end
    end
end

@generated function correlate_tile!(
    ::Val{N}, ::Val{C}, y::Ptr{T}, wide::Int, x::Ptr{T}, offsets::Ptr{Int}, taps::Int, w::Ptr{T},
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
            vstore!(y + $(c - 1) * wide * sizeof(T), $(sums[1, c]))
            vstore!(y + $(c - 1) * wide * sizeof(T) + sizeof($L), $(sums[2, c]))
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

convolve_direct!(y::Array{T,4}, w, x, window, tape) where {T} =
    convolve_direct!(lanes(T), y, w, x, window, tape.scratch::Scratch{T})

function convolve_direct!(
    lanes::Val, y::Array{T,4}, w::Array{T,4}, x::Array{T,4}, window, scratch,
) where {T}
    layout = Layout(window, lanes)
    images = pad!(scratch, x, layout)
    channels, outputs = size(w, 3), size(w, 4)
    offsets = offsets!(scratch, layout, channels, layout.plane, 1)
    wide = room!(scratch.wide, outputs * layout.wide)
    WO, HO = window.output
    GC.@preserve images wide w for n in 0:size(x, 4)-1
        image = pointer(images, n * channels * layout.plane + 1)
        correlate!(
            lanes, pointer(wide), layout.wide, image, layout.count, offsets, pointer(w), outputs,
        )
        for o in 0:outputs-1
            at = (n * outputs + o) * WO * HO
            copy_rows!(y, at, WO, wide, o * layout.wide, layout.pitch, WO, HO)
        end
    end
    return y
end

convolve_direct_back!(dy::Array{T,4}, kernel, x, window) where {T} =
    convolve_direct_back!(lanes(T), dy, kernel, x, window, x.tape.scratch::Scratch{T})

function convolve_direct_back!(
    lanes::Val{N}, dy::Array{T,4}, kernel::Param{T,4}, x::Variable{T,4}, window, scratch,
) where {N,T}
    layout = Layout(window, lanes)
    w, dw = kernel.value, gradient!(x.tape, kernel)
    images = pad!(scratch, x.value, layout)
    channels, outputs, count = size(w, 3), size(w, 4), size(dy, 4)
    # Zeros before the first row, for taps that lie outside, and after the last.
    plane = whole(layout.reach + layout.plane + 2N, N)
    slopes = spread!(scratch, dy, layout, plane)
    offsets = offsets!(scratch, layout, channels, layout.plane, 1)
    correlate_kernels!(lanes, dw, offsets, images, slopes, layout, plane, count)
    x.differentiable || return nothing

    # The gradient of the input is the correlation of the slopes with kernels turned round.
    dx, keep = gradient!(x)
    offsets = offsets!(scratch, layout, outputs, plane, -1)
    kernels = turn!(scratch, w)
    wide = room!(scratch.wide, channels * (layout.plane + 2N))
    (W, H), (PW, PH) = window.input, window.padding
    GC.@preserve slopes wide kernels for n in 0:count-1
        slope = pointer(slopes, n * outputs * plane + layout.reach + 1)
        correlate!(
            lanes, pointer(wide), layout.plane + 2N, slope, layout.plane, offsets,
            pointer(kernels), channels,
        )
        for c in 0:channels-1
            at, from = (n * channels + c) * W * H, c * (layout.plane + 2N) + PH * layout.pitch + PW
            if keep == 1
                add_rows!(dx, at, wide, from, layout.pitch, W, H)
            else
                copy_rows!(dx, at, W, wide, from, layout.pitch, W, H)
            end
        end
    end
    return nothing
end

function add_rows!(to, at, from, start, pitch, width, rows)
    @inbounds for row in 0:rows-1
        @simd ivdep for i in 1:width
            to[at+row*width+i] += from[start+row*pitch+i]
        end
    end
end

"Slopes of the output at the pitch of the padded images, planes `plane` apart, zero elsewhere."
function spread!(scratch::Scratch{T}, dy::Array{T,4}, layout::Layout, plane) where {T}
    WO, HO = layout.window.output
    planes = size(dy, 3) * size(dy, 4)
    slopes = room!(scratch.slopes, planes * plane + layout.reach + layout.wide)
    fill!(view(slopes, 1:planes*plane+layout.reach+layout.wide), zero(T))
    for n in 0:planes-1
        at = n * plane + layout.reach
        copy_rows!(slopes, at, layout.pitch, dy, n * WO * HO, WO, WO, HO)
    end
    return slopes
end

"Kernels (KW, KH, I, O) as a matrix of taps (KW, KH, O) by input channels."
function turn!(scratch::Scratch{T}, w::Array{T,4}) where {T}
    area = size(w, 1) * size(w, 2)
    kernels = room!(scratch.kernels, length(w))
    @inbounds for o in 0:size(w, 4)-1, c in 0:size(w, 3)-1, k in 1:area
        kernels[(c*size(w, 4)+o)*area+k] = w[(o*size(w, 3)+c)*area+k]
    end
    return kernels
end

"""
Add to `dw[k, o]` the products of all images, shifted by tap k, with the slopes of output o. Sums
stay in registers from the first image to the last.
"""
function correlate_kernels!(
    lanes::Val, dw::Array{T,4}, offsets::Vector{Int}, images::Vector{T}, slopes::Vector{T},
    layout, plane, count,
) where {T}
    channels, outputs, taps = size(dw, 3), size(dw, 4), length(offsets)
    GC.@preserve dw images slopes for first in 0:CHANNELS:outputs-1, k in 0:2:taps-1
        slope = pointer(slopes, first * plane + layout.reach + 1)
        to = pointer(dw, first * taps + k + 1)
        # The last of an odd number of taps is computed twice and kept once.
        one = pointer(images) + offsets[k+1]
        two = pointer(images) + offsets[min(k + 2, taps)]
        both = k + 1 < taps
        image, step = channels * layout.plane, outputs * plane
        left = min(CHANNELS, outputs - first)
        arguments = (to, taps, both, one, two, image, slope, plane, step, layout.count, count)
        if left == 6
            kernel_tile!(lanes, Val(6), arguments...)
        elseif left == 5
            kernel_tile!(lanes, Val(5), arguments...)
        elseif left == 4
            kernel_tile!(lanes, Val(4), arguments...)
        elseif left == 3
            kernel_tile!(lanes, Val(3), arguments...)
        elseif left == 2
            kernel_tile!(lanes, Val(2), arguments...)
        else
            kernel_tile!(lanes, Val(1), arguments...)
        end
    end
end

@generated function kernel_tile!(
    ::Val{N}, ::Val{C}, dw::Ptr{T}, taps::Int, both::Bool, one::Ptr{T}, two::Ptr{T}, image::Int,
    slopes::Ptr{T}, plane::Int, step::Int, pixels::Int, count::Int,
) where {N,C,T}
    L = Lanes{N,T}
    sums = [Symbol(:sum, m, :_, c) for m in 1:2, c in 1:C]
    steps = map(1:C) do c
        quote
            slope = vload($L, from + ($(c - 1) * plane + p) * sizeof(T))
            $(sums[1, c]) = vmuladd(left, slope, $(sums[1, c]))
            $(sums[2, c]) = vmuladd(right, slope, $(sums[2, c]))
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
            from = slopes + n * step * sizeof(T)
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
