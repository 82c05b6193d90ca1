"""
What reached this process since the weights were loaded, as SHA-256: the twin of the harness's
`protocol/received.py`. `keep!` copies during the measurement; `digests` hashes afterwards.
"""
module Received

using SHA: SHA2_256_CTX, digest!, update!

mutable struct Record
    pending::Vector{NTuple{3,Array}}  # order, learning rates and augmentation of an epoch
    hashes::NTuple{3,SHA2_256_CTX}
    augmented::Bool
end

Record() = Record([], ntuple(_ -> SHA2_256_CTX(), 3), false)

keep!(record, arrays...) = (push!(record.pending, map(copy, arrays)); nothing)

"Hash what is pending; the digests of order, learning rates and augmentation so far, in one line."
function digests(record)
    for arrays in record.pending, (hash, array) in zip(record.hashes, arrays)
        # As bytes where they lie: the order of a C-order NumPy array.
        GC.@preserve array update!(
            hash, unsafe_wrap(Array, Ptr{UInt8}(pointer(array)), sizeof(array)),
        )
    end
    record.augmented |= any(!isempty(augmentation) for (_, _, augmentation) in record.pending)
    empty!(record.pending)
    order, rates, augmentation = (bytes2hex(digest!(deepcopy(hash))) for hash in record.hashes)
    return "$order $rates $(record.augmented ? augmentation : "none")"
end

"SHA-256 of the images `rows`, counted from 1, of `pixels` (W, H, C, N), and then of their labels."
function images_digest(pixels, labels, rows)
    hash = SHA2_256_CTX()
    foreach(row -> update!(hash, vec(pixels[:, :, :, row])), rows)
    update!(hash, labels isa Vector ? labels[rows] : vec(labels[:, rows]))
    return bytes2hex(digest!(hash))
end

end
