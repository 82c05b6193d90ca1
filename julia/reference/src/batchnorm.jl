const EPSILON = 1e-5
const MOMENTUM = 0.1

"""
    batchnorm(x, scale, shift, running_mean, running_var)

Normalise every channel of images (W, H, C, N) over the whole batch, all threads together: with
its own mean and variance while training, with the running ones otherwise. The running variance
takes the unbiased one of the batch.
"""
function batchnorm(
    x::Variable{T,4}, gamma::Param{T,1}, beta::Param{T,1}, running_mean::Vector{T},
    running_var::Vector{T},
) where {T}
    input, tape = read(x), x.tape
    y = fresh(x, size(input))
    if !tape.recording
        scale = gamma.value ./ sqrt.(running_var .+ T(EPSILON))
        normalize!(y.value, input, running_mean, scale, beta.value)
        return y
    end
    channels, count = size(input, 3), size(input, 1) * size(input, 2) * tape.images
    mean = allreduce!(tape, sums(input)) ./ count
    variance = allreduce!(tape, sums(input, mean)) ./ count
    if tape.member == 1
        running_mean .+= T(MOMENTUM) .* (mean .- running_mean)
        unbiased = variance .* (count / max(1, count - 1))
        running_var .+= T(MOMENTUM) .* (unbiased .- running_var)
    end
    inverse = 1 ./ sqrt.(variance .+ EPSILON)
    mean_, inverse_ = T.(mean), T.(inverse)
    normalize!(y.value, input, mean_, gamma.value .* inverse_, beta.value)
    return record!(y) do
        own = gradient_sums(y.gradient, input, mean_, inverse_)
        gradient!(tape, beta) .+= own[1:channels]
        gradient!(tape, gamma) .+= own[channels+1:end]
        all = allreduce!(tape, own) ./ count
        back_normalize!(x, y.gradient, mean_, inverse_, gamma.value, T.(all))
    end
end

"Sums of all members of the team; each gives its own and gets the same total."
function allreduce!(tape::Tape, own::Vector{Float64})
    team, partial = tape.team, tape.team.partial_sums
    team.size == 1 && return own
    barrier!(team)  # nobody still reads the sums of the last time
    partial[tape.member] = own
    barrier!(team)
    return reduce(+, partial)  # in the order of the members: the same for all, every time
end

channel(x::Array{T,4}, block) where {T} = (block - 1) % size(x, 3) + 1
blocks(x::Array{T,4}) where {T} = 1:size(x, 3)*size(x, 4)

"Sum of each channel, or of its squared distances from `mean`."
function sums(x::Array{T,4}, mean = nothing) where {T}
    total = zeros(Float64, size(x, 3))
    inner = stride(x, 3)
    @inbounds for block in blocks(x)
        c = channel(x, block)
        middle = mean === nothing ? zero(T) : T(mean[c])
        sum = zero(T)
        @simd for i in (block-1)*inner+1:block*inner
            sum += mean === nothing ? x[i] : (x[i] - middle)^2
        end
        total[c] += sum
    end
    return total
end

function normalize!(y::Array{T,4}, x::Array{T,4}, mean, scale, shift) where {T}
    inner = stride(x, 3)
    @inbounds for block in blocks(x)
        c = channel(x, block)
        m, s, b = mean[c], scale[c], shift[c]
        @simd ivdep for i in (block-1)*inner+1:block*inner
            y[i] = (x[i] - m) * s + b
        end
    end
    return y
end

"Of each channel, the sum of the gradient, then the sum of gradient times normalised value."
function gradient_sums(dy::Array{T,4}, x::Array{T,4}, mean, inverse) where {T}
    channels, inner = size(x, 3), stride(x, 3)
    total = zeros(Float64, 2channels)
    @inbounds for block in blocks(x)
        c = channel(x, block)
        plain = product = zero(T)
        @simd for i in (block-1)*inner+1:block*inner
            plain += dy[i]
            product += dy[i] * (x[i] - mean[c]) * inverse[c]
        end
        total[c] += plain
        total[channels+c] += product
    end
    return total
end

function back_normalize!(x::Variable{T,4}, dy, mean, inverse, gamma, averages) where {T}
    dx, keep = gradient!(x)
    input, inner = x.value, stride(x.value, 3)
    @inbounds for block in blocks(input)
        c = channel(input, block)
        m, s, g = mean[c], inverse[c], gamma[c]
        plain, product = averages[c], averages[size(input, 3)+c]
        if keep == 1
            @simd ivdep for i in (block-1)*inner+1:block*inner
                dx[i] += g * s * (dy[i] - plain - (input[i] - m) * s * product)
            end
        else
            @simd ivdep for i in (block-1)*inner+1:block*inner
                dx[i] = g * s * (dy[i] - plain - (input[i] - m) * s * product)
            end
        end
    end
    return nothing
end
