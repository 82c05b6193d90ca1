@testset "gradients against finite differences" begin
    image, kernel = numbers(7, 6, 3, 2), numbers(3, 3, 3, 4)
    for (padding, stride) in ((0, 1), (1, 1), (2, 1), (1, 2), ((0, 2), (2, 1)))
        @test agree((x, w) -> conv4(w, x; padding = padding, stride = stride), image, kernel)
    end
    @test agree((x, w) -> conv4(w, x; padding = (2, 1)), image, numbers(3, 2, 3, 7))
    @test agree((x, w) -> conv4(w, x; padding = 3, stride = 2), image, numbers(7, 7, 3, 2))
    @test agree((x, w) -> conv4(w, x), image, numbers(1, 1, 3, 5))
    @test agree((x, w) -> conv4(w, x; stride = 2), image, numbers(1, 1, 3, 5))
    @test agree((x, w) -> conv4(w, x; padding = 2), numbers(5, 5, 1, 2), numbers(5, 5, 1, 2))
    for mode in (0, 1, 2), shape in ((6, 4, 2, 2), (7, 5, 2, 2))
        @test agree(x -> pool(x; window = 2, mode = mode), numbers(shape...))
    end
    for mode in (0, 2)
        @test agree(x -> pool(x; window = 3, stride = 2, padding = 1, mode = mode), image)
    end
    @test agree((x, b) -> tanh.(x .+ b), image, numbers(1, 1, 3, 1))
    @test agree((x, b) -> relu.(x .+ b), image, numbers(1, 1, 3, 1))
    @test agree((x, w, b) -> w * mat(x) .+ b, image, numbers(4, 126), numbers(4))
    @test agree((x, w) -> tanh.(w * x), numbers(5, 3), numbers(4, 5))
    @test agree(x -> nll(x, [3, 1, 4]), numbers(4, 3))
    @test agree(x -> bce(x, [1.0 0 1; 0 0 1]), 3 .* numbers(2, 3))
    @test agree(x -> bce(x, [1.0 0 1; 0 0 1], [2.5, 0.5]), 3 .* numbers(2, 3))
    @test agree(average, image)
    # Two uses of one array: gradients add up.
    @test agree((x, w) -> conv4(w, x; padding = 1) .+ x, numbers(4, 4, 2, 2), numbers(3, 3, 2, 2))
    twice(x, w) = conv4(w, x) .+ conv4(w, x)
    @test agree(twice, numbers(4, 4, 2, 2), numbers(3, 3, 2, 2))
    joined(x, w) = cat(x, conv4(w, x; padding = 1), x; dims = 3)
    @test agree(joined, numbers(4, 3, 2, 2), numbers(3, 3, 2, 5))
    normalized(x, g, b) = batchnorm(x, g, b, zeros(3), ones(3))
    @test agree(normalized, image, 1 .+ numbers(3), numbers(3); tolerance = 1e-6)
    shared(x, g, b) = normalized(x, g, b) .+ x
    @test agree(shared, image, 1 .+ numbers(3), numbers(3); tolerance = 1e-6)
end

@testset "the check itself can fail" begin
    wrong(x, w) = (y = conv4(w, x); pop!(y.tape.backward); y.tape.backward = []; y)
    @test_throws Exception agree(wrong, numbers(4, 4, 1, 1), numbers(3, 3, 1, 1))
    doubled = x -> (y = tanh.(x); push!(y.tape.backward, () -> y.gradient .*= 2); y)
    @test !agree(doubled, numbers(4, 4, 1, 1))
end

@testset "values" begin
    @testset "convolution never flips" begin
        x, w = numbers(4, 3, 2, 1), numbers(2, 2, 2, 1)
        y = conv4(Param(w), Variable(tape(), x)).value
        @test y[2, 1, 1, 1] ≈ sum(w[:, :, :, 1] .* x[2:3, 1:2, :, 1])
        @test size(y) == (3, 2, 1, 1)
    end
    @testset "the mean never counts padding" begin
        x = reshape(collect(1.0:9), 3, 3, 1, 1)
        y = pool(Variable(tape(), x); window = 2, stride = 2, padding = 1, mode = 2).value
        @test y[1, 1, 1, 1] == 1
        @test y[2, 2, 1, 1] == (5 + 6 + 8 + 9) / 4
    end
    @testset "the largest never counts padding" begin
        x = reshape(collect(-9.0:-1), 3, 3, 1, 1)
        y = pool(Variable(tape(), x); window = 3, stride = 2, padding = 1, mode = 0).value
        @test y[:, :, 1, 1] == [-5 -2; -4 -1]
        @test average(Variable(tape(), x)).value == fill(-5.0, 1, 1, 1, 1)
    end
    @testset "among equals the first is the largest" begin
        x = Variable(tape(), ones(2, 2, 1, 1))
        y = pool(x; mode = 0)
        y.gradient = ones(1, 1, 1, 1)
        backward!(x.tape)
        @test vec(x.gradient) == [1, 0, 0, 0]
    end
    @testset "cross-entropy does not overflow" begin
        t = tape()
        @test nll(Variable(t, reshape([1000.0, 0.0], 2, 1)), [2]) ≈ 1000
    end
    @testset "binary cross-entropy does not overflow" begin
        logits = Variable(tape(), reshape([1000.0, -1000.0], 2, 1))
        @test bce(logits, reshape([0.0, 0.0], 2, 1)) ≈ 500
        @test logits.gradient ≈ [0.5, 0]
    end
    @testset "the fast hyperbolic tangent" begin
        for x in -12f0:0.001f0:12f0
            difference = abs(Reference.fast_tanh(x) - tanh(Float64(x)))
            @test difference <= 4eps(max(1f-3, abs(tanh(x))))
        end
    end
    @testset "batch statistics" begin
        layer, x = BatchNorm(Float64, 2), numbers(3, 3, 2, 4)
        y = layer(Variable(tape(4), x)).value
        plane = x[:, :, 2, :]
        centred = plane .- sum(plane) / 36
        @test y[:, :, 2, :] ≈ centred ./ sqrt(sum(abs2, centred) / 36 + 1e-5)
        @test layer.running_mean[2] ≈ 0.1 * sum(plane) / 36
        @test layer.running_var[2] ≈ 0.9 + 0.1 * sum(abs2, centred) / 35
    end
    @testset "evaluation uses the running statistics and leaves them" begin
        layer, x = BatchNorm(Float64, 2), numbers(3, 3, 2, 4)
        layer.running_mean .= (0.5, -1.0)
        layer.running_var .= (4.0, 0.25)
        still = tape(4)
        still.recording = false
        y = layer(Variable(still, x)).value
        @test y[:, :, 2, :] ≈ (x[:, :, 2, :] .+ 1) ./ sqrt(0.25 + 1e-5)
        @test layer.running_mean == [0.5, -1.0] && layer.running_var == [4.0, 0.25]
    end
    @testset "positives of a label that count more" begin
        logits, labels, weights = [0.3 -2.0; 1.5 0.1], [1.0 0; 1 1], [3.0, 0.5]
        p = 1 ./ (1 .+ exp.(-logits))
        losses = -(labels .* weights .* log.(p) .+ (1 .- labels) .* log.(1 .- p))
        t = tape(2)
        @test bce(Variable(t, logits), labels, weights) ≈ sum(losses) / 4
        @test_throws DimensionMismatch bce(Variable(t, logits), labels, [3.0])
    end
    @testset "channels side by side" begin
        t = tape(2)
        x, y = Variable(t, numbers(2, 3, 1, 2)), Variable(t, numbers(2, 3, 4, 2))
        @test cat(x, y; dims = 3).value == cat(x.value, y.value; dims = 3)
        @test_throws DimensionMismatch cat(x, Variable(t, numbers(2, 2, 4, 2)); dims = 3)
        @test_throws ArgumentError cat(x, y; dims = 1)
    end
    @testset "what was overwritten cannot be used" begin
        x = Variable(tape(), numbers(2, 2, 1, 1))
        relu.(x)
        @test_throws ErrorException tanh.(x)
    end
    @testset "shapes that do not fit" begin
        x = Variable(tape(), numbers(4, 4, 2, 1))
        @test_throws DimensionMismatch conv4(Param(numbers(3, 3, 1, 1)), x)
        @test_throws DimensionMismatch conv4(Param(numbers(5, 5, 2, 1)), x)
        @test_throws DimensionMismatch Param(numbers(3, 7)) * mat(x)
        @test_throws ArgumentError pool(x; padding = 1, mode = 1)
    end
end
