# Threads: one team for the whole process, every member works on slices of its own.

"""
    Team(size)

The threads that share the work of one step. `barrier!` lets them wait for each other in the middle
of it, which only batch normalisation needs.
"""
mutable struct Team
    size::Int
    arrived::Threads.Atomic{Int}
    generation::Threads.Atomic{Int}
    failed::Threads.Atomic{Bool}
    partial_sums::Vector{Vector{Float64}}  # one of each member, for an allreduce
end

Team(size) = Team(
    size, Threads.Atomic{Int}(0), Threads.Atomic{Int}(0), Threads.Atomic{Bool}(false),
    fill(Float64[], size),
)

"Call `work(member)` on every thread of the team at once; the first error is thrown on."
function together(work, team::Team)
    team.size == 1 && return (work(1); nothing)
    team.failed[] = false
    team.arrived[] = 0
    errors = Vector{Any}(nothing, team.size)
    Threads.@threads :static for member in 1:team.size
        try
            work(member)
        catch error
            errors[member] = CapturedException(error, catch_backtrace())
            team.failed[] = true
        end
    end
    for found in errors
        found === nothing || found.ex isa AbandonedError || throw(found)
    end
    return nothing
end

"Thrown in the other threads of a team when one has failed, so that none waits for it forever."
struct AbandonedError <: Exception end

"Wait until every member of the team is here."
function barrier!(team::Team)
    team.size == 1 && return nothing
    generation = team.generation[]
    if Threads.atomic_add!(team.arrived, 1) == team.size - 1
        team.arrived[] = 0
        Threads.atomic_add!(team.generation, 1)
        return nothing
    end
    turns = 0
    while team.generation[] == generation
        team.failed[] && throw(AbandonedError())
        ccall(:jl_cpu_pause, Cvoid, ())
        GC.safepoint()  # a collection waits for every thread
        # Where other programs compete, the late thread may be waiting for this very CPU.
        (turns += 1) % 1000 == 0 && Sys.isunix() && ccall(:sched_yield, Cint, ())
    end
    return nothing
end
