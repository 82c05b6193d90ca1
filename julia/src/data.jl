# A C-order NumPy array (N, C, H, W) is the same memory as a Julia array (W, H, C, N).

"""
    Images(pixels, labels, mean, std)

A split of a data set: `pixels` UInt8 (W, H, C, N), `labels` UInt8 (N,) from 0 or, where an image
can have several, 0 and 1 in (labels, N); and per channel the mean and standard deviation that
pixels are normalised by.
"""
struct Images{T}
    pixels::Array{UInt8,4}
    labels::Union{Vector{UInt8},Matrix{UInt8}}
    table::Matrix{T}
end

# One table entry for each of the 256 values of a pixel: the same numbers as (x / 255 - mean) / std
# for every pixel, computed once.
Images{T}(pixels, labels, mean, std) where {T} =
    Images{T}(pixels, labels, [(T(x) / 255 - T(m)) / T(s) for x in 0:255, (m, s) in zip(mean, std)])

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

"The images of one step: `indices` into a split, from 1."
struct Batch{T,I<:AbstractVector{<:Integer}}
    images::Images{T}
    indices::I
end

Base.length(batch::Batch) = length(batch.indices)

"Fill `x` (W, H, C, n) with the normalised images of `indices`."
function inputs!(x::Array{T,4}, images::Images{T}, indices) where {T}
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
