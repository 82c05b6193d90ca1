# Reverse-mode differentiation (Griewank & Walther 2008, chapter 3): every operation on a
# `Variable` leaves on the tape what sends gradients back through it.

"""
Arrays that are handed out in the order in which they are asked for, and again in the next step.

A network asks for the same arrays in every step, so after the first nothing is allocated.
"""
mutable struct Arena
    arrays::Vector{Any}
    used::Int
end

Arena() = Arena([], 0)

function borrow!(arena::Arena, ::Type{T}, shape::NTuple{N,Int})::Array{T,N} where {T,N}
    arena.used += 1
    if arena.used > length(arena.arrays)
        push!(arena.arrays, Array{T,N}(undef, shape))
    elseif !(arena.arrays[arena.used] isa Array{T,N}) || size(arena.arrays[arena.used]) != shape
        arena.arrays[arena.used] = Array{T,N}(undef, shape)
    end
    return arena.arrays[arena.used]
end

"""
    Param(value)

A trainable array.
"""
mutable struct Param{T,N}
    value::Array{T,N}
end

value(p::Param) = p.value
value(array::Array) = array
Base.size(p::Param, axes...) = size(p.value, axes...)

"Arrays that direct convolutions work in, of one thread."
mutable struct Scratch{T}
    images::Vector{T}  # padded
    gradients::Vector{T}  # of the output, at the pitch of the padded images, zero between rows
    wide::Vector{T}  # results with what is dropped
    kernels::Vector{T}
    offsets::Vector{Int}  # in bytes, one for each tap
end

Scratch{T}() where {T} = Scratch{T}(T[], T[], T[], T[], Int[])

"""
    Tape{T}(team, member)

What one thread has computed on its slice of a batch, and the gradients of the parameters.

`images` counts the whole batch: losses are means over all of it, not over the slice.
"""
mutable struct Tape{T}
    team::Team
    member::Int
    images::Int
    recording::Bool
    arena::Arena  # of the present size of slice
    arenas::Dict{Int,Arena}
    backward::Vector{Any}
    gradients::IdDict{Any,Any}
    columns::Vector{T}  # of a convolution, one image at a time
    scratch::Scratch{T}
end

Tape{T}(team::Team, member::Int) where {T} =
    Tape{T}(team, member, 0, false, Arena(), Dict{Int,Arena}(), [], IdDict(), T[], Scratch{T}())

"Gradient of a parameter so far, zero at first: an array of its shape to add to."
gradient!(tape::Tape, p::Param{T,N}) where {T,N} =
    get!(() -> zeros(T, size(p.value)), tape.gradients, p)::Array{T,N}

"""
An array computed on a tape.

An operation may overwrite its operand (bias and activation do, to save a pass over memory); the
operand is then `spent`, and using it again is an error.
"""
mutable struct Variable{T,N}
    tape::Tape{T}
    value::Array{T,N}
    gradient::Union{Nothing,Array{T,N}}
    differentiable::Bool
    spent::Bool
end

Variable(tape::Tape{T}, value::Array{T,N}; differentiable = true) where {T,N} =
    Variable{T,N}(tape, value, nothing, differentiable, false)

Base.size(x::Variable, axes...) = size(x.value, axes...)
Base.eltype(::Variable{T}) where {T} = T

"A new variable of the given shape, with nothing in it yet."
fresh(x::Variable{T}, shape) where {T} = Variable(x.tape, borrow!(x.tape.arena, T, shape))

function read(x::Variable)
    x.spent && error("this array was overwritten by a bias or an activation after it")
    return x.value
end

"The same memory under a new name, for an operation that overwrites it."
function overwrite!(x::Variable)
    value = read(x)
    x.spent = true
    return Variable(x.tape, value)
end

"Gradient to add to, and the factor (0 or 1) for what it already holds."
function gradient!(x::Variable{T,N}) where {T,N}
    x.gradient === nothing || return x.gradient::Array{T,N}, one(T)
    x.gradient = borrow!(x.tape.arena, T, size(x.value))
    return x.gradient::Array{T,N}, zero(T)
end

"Leave on the tape what sends gradients back; it runs only when they reached `y`."
function record!(back, y::Variable)
    y.tape.recording && push!(y.tape.backward, () -> y.gradient === nothing || back())
    return y
end

"Run the tape backwards from a gradient that is already in place."
function backward!(tape::Tape)
    for index in length(tape.backward):-1:1
        tape.backward[index]()
    end
    return nothing
end

"Start over, for a slice of `images`."
function reset!(tape::Tape, images::Int)
    tape.arena = get!(Arena, tape.arenas, images)
    tape.arena.used = 0
    empty!(tape.backward)
    return tape
end
