# The update rules of the protocol. Knet's own fold the learning rate into the velocity, which is
# another rule as soon as the rate changes from step to step.

"v <- momentum v + (g + weight_decay p);  p <- p - rate v."
struct Momentum{A}
    momentum::Float64
    weight_decay::Float64
    velocity::A
end

function update!(p::A, g::A, rate, rule::Momentum{A}) where {T,A<:AbstractArray{T}}
    m, decay, v = T(rule.momentum), T(rule.weight_decay), rule.velocity
    v .= m .* v .+ (g .+ decay .* p)
    p .-= T(rate) .* v
    return p
end

"""
Adam (Kingma & Ba 2015), epsilon outside the square root, weight decay in the gradient; or apart
from it, `decoupled` (AdamW, Loshchilov & Hutter 2019): p <- p - rate weight_decay p.
"""
mutable struct Adam{A}
    beta1::Float64
    beta2::Float64
    epsilon::Float64
    weight_decay::Float64
    decoupled::Bool
    first::A
    second::A
    steps::Int
end

function update!(p::A, g::A, rate, rule::Adam{A}) where {T,A<:AbstractArray{T}}
    rule.steps += 1
    b1, b2 = T(rule.beta1), T(rule.beta2)
    decay, decoupled = T.(rule.decoupled ? (0, rule.weight_decay) : (rule.weight_decay, 0))
    m, s = rule.first, rule.second
    m .= b1 .* m .+ (1 - b1) .* (g .+ decay .* p)
    s .= b2 .* s .+ (1 - b2) .* abs2.(g .+ decay .* p)
    unbiased1, unbiased2 = T(1 - rule.beta1^rule.steps), T(1 - rule.beta2^rule.steps)
    p .-=
        T(rate) .*
        ((m ./ unbiased1) ./ (sqrt.(s ./ unbiased2) .+ T(rule.epsilon)) .+ decoupled .* p)
    return p
end

# What a rule keeps of its parameter, by the protocol's names, and the number of its updates.

slot(rule::Momentum, name) =
    name == "velocity" ? rule.velocity : error("SGD keeps no $name")

function slot(rule::Adam, name)
    name == "first_moment" && return rule.first
    name == "second_moment" && return rule.second
    error("Adam keeps no $name")
end

steps(::Momentum) = 0
steps(rule::Adam) = rule.steps

steps!(::Momentum, count) = nothing
steps!(rule::Adam, count) = (rule.steps = count; nothing)

function optimizer(settings, p)
    settings.name == "sgd" && return Momentum(settings.momentum, settings.weight_decay, zero(p))
    return Adam(
        settings.beta1, settings.beta2, settings.epsilon, settings.weight_decay,
        settings.name == "adamw", zero(p), zero(p), 0,
    )
end
