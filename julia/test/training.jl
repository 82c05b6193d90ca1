pixels = UInt8.(mod.(reshape(1:12*14*1*50, 12, 14, 1, 50) .^ 2, 251))
labels = UInt8.(mod.(0:49, 3))

function build(activation, pooling, precision; rule = "sgd")
    Standard.build(
        "lenet5", activation, pooling, 12, 14, 1, 3, precision, [0.5], [0.25], rule,
        0.9, 0.9, 0.999, 1e-8, 1e-3,
    )
    for (name, param) in Standard.CURRENT[].parameters
        param.value .= numbers(size(param)...) ./ 5
    end
    Standard.hand_over("train", pixels, labels)
    return Standard.CURRENT[]
end

@testset "LeNet-5 with $activation and $pooling pooling" for (activation, pooling) in
                                                     (("tanh", "average"), ("relu", "max"))
    now = build(activation, pooling, "float64")
    images = PipelineBench.Images{Float64}(pixels, labels, [0.5], [0.25])
    batch = PipelineBench.Batch(images, 1:50)
    loss() = Standard.loss_and_gradients!(now.engine, now.network, batch)
    loss()
    gradients = [copy(Standard.gradient(now.engine, p)) for (_, p) in now.parameters]
    for ((name, param), found) in zip(now.parameters, gradients), i in (1, length(found))
        kept = param.value[i]
        param.value[i] = kept + 1e-6
        up = loss()
        param.value[i] = kept - 1e-6
        down = loss()
        param.value[i] = kept
        @test (up - down) / 2e-6 ≈ found[i] rtol = 1e-5 atol = 1e-9
    end
    out = zeros(3, 50)
    Standard.scores!(out, now.engine, now.network, batch)
    shifted = out .- maximum(out, dims = 1)
    chosen = [shifted[labels[n]+1, n] - log(sum(exp, shifted[:, n])) for n in 1:50]
    @test loss() ≈ -sum(chosen) / 50
end

@testset "parameters have the names of the model cards" begin
    build("tanh", "average", "float32")
    names = split(Standard.parameter_names(), '\n')
    @test names[1:2] == ["conv1.weight", "conv1.bias"]
    @test length(names) == 10
    given = Float32.(numbers(120, 84))
    Standard.set_parameter("dense2.weight", given)
    @test Standard.parameter("dense2.weight").value == given'
    out = similar(given)
    Standard.get_parameter("dense2.weight", out)
    @test out == given
    @test_throws ErrorException Standard.parameter("dense9.weight")
end

@testset "training" begin
    order = reshape(collect(0:47), 12, 4)
    for rule in ("sgd", "adam"), precision in ("float32", "float64")
        now = build("tanh", "average", precision; rule = rule)
        losses = zeros(4)
        for _ in 1:40
            Standard.train("train", order, fill(0.003, 4), losses)
        end
        @test sum(losses) / 4 < 0.9  # from log(3)
    end
end

@testset "several labels an image" begin
    now = build("tanh", "average", "float64")
    several = UInt8[mod(n, k + 1) == 0 for k in 1:3, n in 1:50]
    Standard.hand_over("several", pixels, several)
    losses = zeros(4)
    for _ in 1:60
        Standard.train("several", reshape(collect(0:47), 12, 4), fill(0.003, 4), losses)
    end
    @test sum(losses) / 4 < 0.62  # from log(2)
end

@testset "equal runs give equal bits" begin
    function run()
        build("relu", "max", "float32")
        losses = zeros(4)
        Standard.train("train", reshape(collect(0:47), 12, 4), fill(0.01, 4), losses)
        return losses, copy(Standard.parameter("conv1.weight").value)
    end
    @test run() == run()
end

@testset "a steady step allocates next to nothing" begin
    now = build("tanh", "average", "float32")
    order, losses = repeat(reshape(collect(0:47), 48, 1), 1, 8), zeros(8)
    Standard.train("train", order, fill(0.01, 8), losses)
    bytes = @allocated Standard.train("train", order, fill(0.01, 8), losses)
    # One convolution's output alone would be 48 * 6 * 12 * 14 * 4 = 193,536.
    @test bytes / 8 < 50_000
end

@testset "update rules" begin
    p, g = [1.0, -2.0], [0.5, 0.25]
    rule = Standard.Momentum(0.9, 0.1, zeros(2))
    Standard.update!(p, g, 0.1, rule)
    v = g .+ 0.1 .* [1.0, -2.0]
    @test p ≈ [1.0, -2.0] .- 0.1 .* v
    before = copy(p)
    Standard.update!(p, g, 0.2, rule)
    @test p ≈ before .- 0.2 .* (0.9 .* v .+ g .+ 0.1 .* before)

    p = [1.0, -2.0]
    rule = Standard.Adam(0.9, 0.999, 1e-8, 0.0, zeros(2), zeros(2), 0)
    Standard.update!(p, g, 0.1, rule)
    @test p ≈ [1.0, -2.0] .- 0.1 .* g ./ (abs.(g) .+ 1e-8)
end

@testset "batch normalisation over all threads" begin
    struct Normalized
        conv
        norm
        dense
    end
    (net::Normalized)(x) = net.dense(relu.(batchnorm(net.conv(x), net.norm)))
    images = PipelineBench.Images{Float64}(pixels, labels, [0.5], [0.25])
    batch = PipelineBench.Batch(images, 1:7)
    function step(threads)
        net = Normalized(Conv(Float64, 3, 1 => 2), BatchNorm{Float64}(2), Dense(Float64, 240 => 3))
        net.conv.w.value .= numbers(3, 3, 1, 2)
        net.dense.w.value .= numbers(3, 240)
        engine = Engine{Float64}()
        engine.team = Team(threads)
        resize!(engine.tapes, 0)
        append!(engine.tapes, [Tape{Float64}(engine.team, member) for member in 1:threads])
        engine.losses = zeros(threads)
        loss = Standard.loss_and_gradients!(engine, net, batch)
        return loss, Standard.gradient(engine, net.conv.w), net.norm.mean, net.norm.variance
    end
    if Threads.nthreads() == 1
        @info "one thread only: nothing to compare"
    else
        @test all(isapprox.(step(1), step(2); rtol = 1e-12))
    end
end
