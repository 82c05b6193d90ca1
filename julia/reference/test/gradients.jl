# Derivatives by central differences in Float64: the yardstick of every operation.

numbers(shape...) = reshape(sinpi.(0.37 .* (1:prod(shape)) .^ 1.3), shape)

"A tape that records, for a batch of `images`."
function tape(images = 1)
    found = Tape{Float64}(Team(1), 1)
    reset!(found, images)
    found.images = images
    found.recording = true
    return found
end

"Value of `f(variable, params...)` weighted with fixed numbers, so that it is a single one."
function weigh(f, x, params)
    y = f(Variable(tape(size(x)[end]), copy(x)), Param.(copy.(params))...)
    return y isa Number ? y : sum(y.value .* numbers(size(y.value)...))
end

"Derivatives of `weigh` by the tape: of x, then of each parameter."
function taped(f, x, params)
    t = tape(size(x)[end])
    variable, given = Variable(t, copy(x)), Param.(copy.(params))
    y = f(variable, given...)
    y isa Number || (y.gradient = numbers(size(y.value)...))
    backward!(t)
    return [variable.gradient, (gradient!(t, p) for p in given)...]
end

function differences(f, x, params; step = 1e-6)
    arrays = [copy(x), copy.(params)...]
    return map(arrays) do array
        map(eachindex(array)) do i
            kept = array[i]
            array[i] = kept + step
            up = weigh(f, arrays[1], arrays[2:end])
            array[i] = kept - step
            down = weigh(f, arrays[1], arrays[2:end])
            array[i] = kept
            (up - down) / 2step
        end
    end
end

"Whether tape and differences agree, relative to the largest derivative of each array."
function agree(f, x, params...; tolerance = 1e-7)
    pairs = zip(taped(f, x, params), differences(f, x, params))
    return all(pairs) do (by_tape, by_difference)
        scale = max(1, maximum(abs, by_difference))
        maximum(abs, vec(by_tape) .- vec(by_difference)) < tolerance * scale
    end
end
