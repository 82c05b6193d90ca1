# Convolution of any stride by im2col (Chellapilla, Puri & Simard 2006), one image at a time, so
# that its columns stay in the cache of the thread that made them.

"Geometry of a convolution or pooling along the two sides of an image."
struct Window
    input::NTuple{2,Int}
    output::NTuple{2,Int}
    kernel::NTuple{2,Int}
    padding::NTuple{2,Int}
    stride::NTuple{2,Int}
end

pair(n::Integer) = (Int(n), Int(n))
pair(n::Tuple) = Int.(n)

function Window(input, kernel, padding, stride)
    padding, stride = pair(padding), pair(stride)
    output = (input .+ 2 .* padding .- kernel) .÷ stride .+ 1
    minimum(output) > 0 || throw(DimensionMismatch("a kernel of $kernel does not fit $input"))
    return Window(input, output, kernel, padding, stride)
end

"""
    conv4(w, x; padding = 0, stride = 1, mode = 1)

Cross-correlation of images (W, H, I, N) with kernels (KW, KH, I, O): (W', H', O, N).

The name and the arguments are Knet's, where `mode = 1` means that kernels are not flipped.
"""
function conv4(w::Param{T,4}, x::Variable{T,4}; padding = 0, stride = 1, mode = 1) where {T}
    mode == 1 || throw(ArgumentError("only mode = 1: kernels are never flipped here"))
    input = read(x)
    size(w, 3) == size(input, 3) ||
        throw(DimensionMismatch("kernels for $(size(w, 3)) channels, images of $(size(input, 3))"))
    window = Window(size(input)[1:2], size(w)[1:2], padding, stride)
    y = fresh(x, (window.output..., size(w, 4), size(input, 4)))
    if direct(window)
        convolve_direct!(y.value, w.value, input, window, x.tape)
        return record!(() -> convolve_direct_back!(y.gradient, w, x, window), y)
    end
    convolve!(y.value, w.value, input, window, x.tape)
    return record!(() -> convolve_back!(y.gradient, w, x, window), y)
end

"Whether the columns are the image itself."
pointwise(w::Window) = w.kernel == (1, 1) && w.padding == (0, 0) && w.stride == (1, 1)

function convolve!(y::Array{T,4}, w::Array{T,4}, x::Array{T,4}, window, tape) where {T}
    pixels, taps, outputs = prod(window.output), prod(size(w)[1:3]), size(w, 4)
    columns = room!(tape.columns, pixels * taps)
    inputs = stride(x, 4)
    GC.@preserve y w x columns for n in 1:size(x, 4)
        image = pointer(x, (n - 1) * inputs + 1)
        if !pointwise(window)
            im2col!(columns, x, (n - 1) * inputs, size(x, 3), window)
            image = pointer(columns)
        end
        gemm!(
            'N', 'N', pixels, outputs, taps, one(T), image, pixels, pointer(w), taps,
            zero(T), pointer(y, (n - 1) * pixels * outputs + 1), pixels,
        )
    end
    return y
end

function convolve_back!(dy::Array{T,4}, kernel::Param{T,4}, x::Variable{T,4}, window) where {T}
    w, input, tape = kernel.value, x.value, x.tape
    dw = gradient!(tape, kernel)
    pixels, taps, outputs = prod(window.output), prod(size(w)[1:3]), size(w, 4)
    columns = room!(tape.columns, pixels * taps)
    inputs = stride(input, 4)
    direct = pointwise(window)
    dx, keep = x.differentiable ? gradient!(x) : (input, one(T))
    direct || keep == 1 || fill!(dx, zero(T))
    GC.@preserve dy w dw input columns dx for n in 1:size(input, 4)
        image = pointer(input, (n - 1) * inputs + 1)
        if !direct
            im2col!(columns, input, (n - 1) * inputs, size(input, 3), window)
            image = pointer(columns)
        end
        gradient = pointer(dy, (n - 1) * pixels * outputs + 1)
        gemm!(
            'T', 'N', taps, outputs, pixels, one(T), image, pixels, gradient, pixels,
            one(T), pointer(dw), taps,
        )
        x.differentiable || continue
        target = direct ? pointer(dx, (n - 1) * inputs + 1) : pointer(columns)
        gemm!(
            'N', 'T', pixels, taps, outputs, one(T), gradient, pixels, pointer(w), taps,
            direct ? keep : zero(T), target, pixels,
        )
        direct || col2im!(dx, (n - 1) * inputs, columns, size(input, 3), window)
    end
    return nothing
end

"Outputs along one side whose tap `k` falls inside the image."
function inside(k, input, output, padding, stride)
    first = max(1, cld(padding - k + 1, stride) + 1)
    last = min(output, fld(input + padding - k, stride) + 1)
    return first, last
end

"Columns (W' * H', KW * KH * I) of the image that starts after `offset`."
function im2col!(columns::Vector{T}, x::Array{T,4}, offset, channels, window) where {T}
    (W, H), (WO, HO), (KW, KH) = window.input, window.output, window.kernel
    (PW, PH), (SW, SH) = window.padding, window.stride
    at = 0
    @inbounds for c in 1:channels, kh in 1:KH, kw in 1:KW
        left, right = inside(kw, W, WO, PW, SW)
        top, bottom = inside(kh, H, HO, PH, SH)
        plane = offset + (c - 1) * W * H
        for ho in 1:HO
            if ho < top || ho > bottom
                @simd for wo in 1:WO
                    columns[at+wo] = zero(T)
                end
            else
                for wo in 1:left-1
                    columns[at+wo] = zero(T)
                end
                row = plane + ((ho - 1) * SH + kh - PH - 1) * W
                if SW == 1
                    @simd for wo in left:right
                        columns[at+wo] = x[row+wo+kw-PW-1]
                    end
                else
                    for wo in left:right
                        columns[at+wo] = x[row+(wo-1)*SW+kw-PW]
                    end
                end
                for wo in right+1:WO
                    columns[at+wo] = zero(T)
                end
            end
            at += WO
        end
    end
    return columns
end

"Add columns back to the image they were taken from: the adjoint of `im2col!`."
function col2im!(dx::Array{T,4}, offset, columns::Vector{T}, channels, window) where {T}
    (W, H), (WO, HO), (KW, KH) = window.input, window.output, window.kernel
    (PW, PH), (SW, SH) = window.padding, window.stride
    at = 0
    @inbounds for c in 1:channels, kh in 1:KH, kw in 1:KW
        left, right = inside(kw, W, WO, PW, SW)
        top, bottom = inside(kh, H, HO, PH, SH)
        plane = offset + (c - 1) * W * H
        for ho in top:bottom
            from = at + (ho - 1) * WO
            row = plane + ((ho - 1) * SH + kh - PH - 1) * W
            if SW == 1
                @simd ivdep for wo in left:right
                    dx[row+wo+kw-PW-1] += columns[from+wo]
                end
            else
                for wo in left:right
                    dx[row+(wo-1)*SW+kw-PW] += columns[from+wo]
                end
            end
        end
        at += WO * HO
    end
    return dx
end
