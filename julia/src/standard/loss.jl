"""
    nll(scores, labels)

Softmax cross-entropy of scores (classes, images) against labels 1, 2, ...; the share of this
slice in the mean over the whole batch.
"""
function nll(scores::Variable{T,2}, labels::AbstractVector{<:Integer}) where {T}
    s = read(scores)
    d, _ = gradient!(scores)
    total = zero(T)
    share = one(T) / scores.tape.images
    length(labels) == size(s, 2) && all(in(1:size(s, 1)), labels) ||
        throw(DimensionMismatch("labels are not classes of scores of size $(size(s))"))
    @inbounds for n in 1:size(s, 2)
        largest = s[1, n]
        for c in 2:size(s, 1)
            largest = max(largest, s[c, n])
        end
        sum = zero(T)
        for c in 1:size(s, 1)
            d[c, n] = exp(s[c, n] - largest)
            sum += d[c, n]
        end
        total += log(sum) + largest - s[labels[n], n]
        for c in 1:size(s, 1)
            d[c, n] *= share / sum
        end
        d[labels[n], n] -= share
    end
    return total * share
end
