"""
Where the time goes: Julia's own sampling profiler, around whatever is called between `start` and
`stop`.

It signals the process. Before `start`, every thread must hold back SIGUSR1, as those that Julia
started do; another one would end the process.
"""
module Sampler

const PROFILE = Base.PkgId(Base.UUID("9abbd945-dff8-562f-b5e8-e1ebf5ef1b79"), "Profile")
const PAUSE = 0.0005  # seconds between two samples
const ROOM = 10^7  # addresses

function start()
    Profile = Base.require(PROFILE)  # loaded when needed: nothing else does
    Base.invokelatest(Profile.init; n = ROOM, delay = PAUSE)
    Base.invokelatest(Profile.clear)
    Base.invokelatest(Profile.start_timer)
    return nothing
end

"Threads that every sample covers."
threads() = isdefined(Threads, :maxthreadid) ? Threads.maxthreadid() : Threads.nthreads()

"""
Stop, and return the samples: a line for each that differs, with how often it was taken and the
stack of every thread behind form feeds; of a stack its frames behind tabs, the innermost first,
each with function and file.
"""
function stop()
    Profile = Base.require(PROFILE)
    Base.invokelatest(Profile.stop_timer)
    addresses = Base.invokelatest(Profile.fetch)
    frames = Base.invokelatest(Profile.getdict, addresses)
    Base.invokelatest(Profile.clear)
    stacks, stack = String[], String[]
    for address in addresses
        if address == 0  # which ends a stack
            isempty(stack) || push!(stacks, join(stack))
            empty!(stack)
        else
            append!(stack, ("\t$(frame.func) $(frame.file)" for frame in frames[address]))
        end
    end
    samples = Dict{Vector{String},Int}()
    for sample in Iterators.partition(stacks, threads())
        samples[sample] = get(samples, sample, 0) + 1
    end
    return join(("$count\f$(join(sample, '\f'))" for (sample, count) in samples), '\n')
end

end
