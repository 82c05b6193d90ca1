cross_entropy(logits, classes::Vector{Int}, _) = nll(logits, classes)
cross_entropy(logits, labels::Matrix, positive_weights) = bce(logits, labels, positive_weights)

"""
    bce(logits, labels, weights = [])

Binary cross-entropy of logits (labels, images) against 0 and 1, a positive of label l counting
`weights[l]`, or 1 when there are none; the share of this slice in the mean over the whole batch and
all labels.
"""
function bce(logits::Variable{T,2}, labels::Matrix{T}, weights = T[]) where {T}
    s = read(logits)
    size(s) == size(labels) ||
        throw(DimensionMismatch("labels of size $(size(labels)) for logits of size $(size(s))"))
    d, _ = gradient!(logits)
    total = zero(T)
    share = one(T) / (logits.tape.images * size(s, 1))
    isempty(weights) || length(weights) == size(s, 1) ||
        throw(DimensionMismatch("$(length(weights)) weights for $(size(s, 1)) labels"))
    @inbounds for n in axes(s, 2), l in axes(s, 1)
        small = exp(-abs(s[l, n]))  # never overflows
        positive = labels[l, n] * (isempty(weights) ? one(T) : weights[l])
        negative = 1 - labels[l, n]
        # -log of the probability of a positive, and of a negative
        total += positive * (max(-s[l, n], zero(T)) + log1p(small))
        total += negative * (max(s[l, n], zero(T)) + log1p(small))
        probability = ifelse(s[l, n] > 0, one(T), small) / (1 + small)
        d[l, n] = (negative * probability - positive * (1 - probability)) * share
    end
    return total * share
end

"""
    nll(logits, labels)

Softmax cross-entropy of logits (classes, images) against labels 1, 2, ...; the share of this
slice in the mean over the whole batch.
"""
function nll(logits::Variable{T,2}, labels::AbstractVector{<:Integer}) where {T}
    s = read(logits)
    d, _ = gradient!(logits)
    total = zero(T)
    share = one(T) / logits.tape.images
    length(labels) == size(s, 2) && all(in(1:size(s, 1)), labels) ||
        throw(DimensionMismatch("labels are not classes of logits of size $(size(s))"))
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
