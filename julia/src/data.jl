# A C-order NumPy array (N, C, H, W) is the same memory as a Julia array (W, H, C, N).

"""
    Images(pixels, labels, mean, std, positive_weights)

A split of a data set: `pixels` UInt8 (W, H, C, N), `labels` UInt8 (N,) from 0 or, where an image
can have several, 0 and 1 in (labels, N); per channel the mean and standard deviation that pixels
are normalised by; and what the positives of each label count, nothing meaning 1.
"""
struct Images{T}
    pixels::Array{UInt8,4}
    labels::Union{Vector{UInt8},Matrix{UInt8}}
    table::Matrix{T}
    positive_weights::Vector{T}

    # One table entry for each of the 256 values of a pixel: the same numbers as
    # (x / 255 - mean) / std for every pixel, computed once.
    Images{T}(pixels, labels, mean, std, positive_weights = T[]) where {T} = new{T}(
        pixels, labels,
        [(T(x) / 255 - T(m)) / T(s) for x in 0:255, (m, s) in zip(mean, std)], positive_weights,
    )
end

const HDF5_ID = Base.PkgId(Base.UUID("f67ccb44-e63f-5c2f-98bd-6dc0ccc4ba2f"), "HDF5")

"Whether HDF5.jl can be loaded here; nothing needs it."
has_hdf5() = Base.locate_package(HDF5_ID) !== nothing

"Pixels and labels of a split of a data set's file."
function read_split(path, split)
    HDF5 = Base.require(HDF5_ID)
    function read()
        HDF5.h5open(path, "r") do file
            HDF5.read(file["$split/images"]), HDF5.read(file["$split/labels"])
        end
    end
    return Base.invokelatest(read)  # HDF5.jl is younger than this function
end

"""
The images of one step: `indices` into a split, from 1, and the augmentation of each: flip, down,
right in `augmentation` (3, n), or nothing.
"""
struct Batch{T,I<:AbstractVector{<:Integer},M}
    images::Images{T}
    indices::I
    augmentation::M
end

Batch(images, indices) = Batch(images, indices, nothing)

Base.length(batch::Batch) = length(batch.indices)

"Fill `x` (W, H, C, n) with the normalised images of `batch`, or of a slice of it."
inputs!(x, batch::Batch, slice = 1:length(batch)) = inputs!(
    x, batch.images, view(batch.indices, slice),
    batch.augmentation === nothing ? nothing : view(batch.augmentation, :, slice),
)

function inputs!(x::Array{T,4}, images::Images{T}, indices, ::Nothing) where {T}
    plane, pixels, table = stride(x, 3), images.pixels, images.table
    at = 0
    for index in indices
        1 <= index <= size(pixels, 4) || throw(BoundsError(pixels, index))
        from = (index - 1) * stride(pixels, 4)
        @inbounds for channel in 1:size(x, 3)
            for i in 1:plane
                x[at+i] = table[pixels[from+i]+1, channel]
            end
            at += plane
            from += plane
        end
    end
    return x
end

# Mirrored left to right where the flip is 1, then shifted; from outside comes black.
function inputs!(x::Array{T,4}, images::Images{T}, indices, augmentation) where {T}
    pixels, table = images.pixels, images.table
    width, height = size(x)[1:2]
    for (n, index) in enumerate(indices)
        1 <= index <= size(pixels, 4) || throw(BoundsError(pixels, index))
        flip, down, right = augmentation[1, n] == 1, augmentation[2, n], augmentation[3, n]
        for channel in 1:size(x, 3), h in 1:height, w in 1:width
            row, column = h - down, w - right
            pixel = 0x00
            if 1 <= row <= height && 1 <= column <= width
                @inbounds pixel = pixels[flip ? width + 1 - column : column, row, channel, index]
            end
            @inbounds x[w, h, channel, n] = table[pixel+1, channel]
        end
    end
    return x
end

"Type and shape of the targets of `count` images: classes (count,), or labels (labels, count)."
target_shape(images::Images{T}, count) where {T} =
    images.labels isa Vector ? (Int, (count,)) : (T, (size(images.labels, 1), count))

"Fill `y` with the classes of `indices`, counted from 1, or with their labels 0 and 1."
function targets!(y::Matrix, images::Images, indices)
    y .= view(images.labels, :, indices)
    return y
end

function targets!(y::Vector{Int}, images::Images, indices)
    for (at, index) in enumerate(indices)
        y[at] = images.labels[index] + 1
    end
    return y
end
