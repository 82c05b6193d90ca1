"""
How another language calls: one function, one array of plain structs, no conversion library.

Arrays cross as address, element type and shape, and are wrapped, never copied; a C-order array of
shape (a, b, c) arrives as a Julia array of size (c, b, a). Text comes back in memory that stays
alive until the next call.
"""
module Bridge

const MODULES = Dict{String,Vector{Module}}()

"Let callers reach the functions of modules as `name.function`; the first that has it is called."
register(name, targets::Module...) = (MODULES[name] = collect(targets); nothing)

function named(text)
    name, verb = split(text, '.')
    for target in MODULES[name]
        isdefined(target, Symbol(verb)) && return getfield(target, Symbol(verb))
    end
    error("no function $text")
end

const ELEMENTS = (UInt8, Int64, Float32, Float64)

"One argument; the caller's memory has the same layout: eleven numbers of 64 bits."
struct Argument
    kind::Int64  # 0 whole number, 1 float, 2 text, 3 array
    element::Int64  # index into ELEMENTS, from 0
    axes::Int64
    shape::NTuple{6,Int64}  # in C order
    number::Float64
    address::Int64  # of text or array; the whole number itself
end

"""
Evaluate a program in a module of its own. `arrays`: an input, parameters and a cotangent, for its
`compute`; then as many for what that returns, a result like the cotangent and the gradients.
"""
function execute(program, arrays...)
    count = length(arrays) ÷ 2
    x, parameters, cotangent = arrays[1], collect(Any, arrays[2:count-1]), arrays[count]
    place = Module()
    include_string(place, program)
    found = Base.invokelatest(getfield(place, :compute), x, parameters, cotangent)
    for (kept, array) in zip(arrays[count+1:end], found)
        size(kept) == size(array) || error("an array of size $(size(array)), not $(size(kept))")
        copyto!(kept, array)
    end
    return nothing
end

"Where the outcome goes: also the caller's memory."
struct Reply
    kind::Int64  # 0 nothing, 1 float, 2 text, 3 an exception, as text
    number::Float64
    address::Int64
    bytes::Int64
end

const TEXT = Ref("")  # of the last reply, kept from the garbage collector

function unwrap(a::Argument)
    a.kind == 0 && return Int(a.address)
    a.kind == 1 && return a.number
    a.kind == 2 && return unsafe_string(Ptr{UInt8}(a.address), a.shape[1])
    shape = ntuple(i -> Int(a.shape[a.axes-i+1]), Int(a.axes))
    return unsafe_wrap(Array, Ptr{ELEMENTS[a.element+1]}(a.address), shape)
end

say(kind, text) =
    (TEXT[] = text; Reply(kind, 0.0, Int64(pointer(TEXT[])), sizeof(TEXT[])))

reply(::Nothing) = Reply(0, 0.0, 0, 0)
reply(number::Real) = Reply(1, number, 0, 0)
reply(text::AbstractString) = say(2, String(text))

"""
    call(function, arguments, count, reply)

Addresses of a NUL-ended `name.function`, of `count` Arguments and of a Reply to fill in. Nothing
is ever thrown to the caller.
"""
function call(name::Int64, arguments::Int64, count::Int64, out::Int64)::Nothing
    outcome = try
        target = named(unsafe_string(Ptr{UInt8}(name)))
        given = [unwrap(unsafe_load(Ptr{Argument}(arguments), i)) for i in 1:count]
        # Functions registered after this one was compiled are called all the same.
        reply(Base.invokelatest(target, given...))
    catch error
        say(3, sprint(showerror, error, catch_backtrace()))
    end
    unsafe_store!(Ptr{Reply}(out), outcome)
    return nothing
end

"Address of [`call`](@ref) for a caller that knows C only."
address() = Int64(@cfunction(call, Cvoid, (Int64, Int64, Int64, Int64)))

end
