pixels = UInt8.(mod.(reshape(1:12*14*1*50, 12, 14, 1, 50) .^ 2, 251))
labels = UInt8.(mod.(0:49, 3))

const PLAIN = zeros(Int, 0, 0, 0)  # no augmentation

function build(activation, pooling, precision; rule = "sgd", network = "lenet5", shape = (12, 14))
    Reference.build(
        network, activation, pooling, shape..., 1, 3, precision, [0.5], [0.25], Float64[], rule,
        0.9, 0.9, 0.999, 1e-8, 1e-3,
    )
    for param in Reference.CURRENT[].parameters
        param.value .= numbers(size(param)...) ./ 5
    end
    Reference.hand_over("train", pixels, labels)
    return Reference.CURRENT[]
end

@testset "LeNet-5 with $activation and $pooling pooling" for (activation, pooling) in
                                                     (("tanh", "average"), ("relu", "max"))
    now = build(activation, pooling, "float64")
    images = PipelineBench.Images{Float64}(pixels, labels, [0.5], [0.25])
    batch = PipelineBench.Batch(images, 1:50)
    loss() = Reference.loss_and_gradients!(now.engine, now.network, batch)
    loss()
    gradients = [copy(Reference.gradient(now.engine, p)) for p in now.parameters]
    for (param, found) in zip(now.parameters, gradients), i in (1, length(found))
        kept = param.value[i]
        param.value[i] = kept + 1e-6
        up = loss()
        param.value[i] = kept - 1e-6
        down = loss()
        param.value[i] = kept
        @test (up - down) / 2e-6 ≈ found[i] rtol = 1e-5 atol = 1e-9
    end
    out = zeros(3, 50)
    Reference.logits!(out, now.engine, now.network, batch)
    shifted = out .- maximum(out, dims = 1)
    chosen = [shifted[labels[n]+1, n] - log(sum(exp, shifted[:, n])) for n in 1:50]
    @test loss() ≈ -sum(chosen) / 50
end

@testset "arrays have the names of the model cards" begin
    now = build("tanh", "average", "float32")
    @test first.(now.arrays)[1:2] == ["conv1.weight", "conv1.bias"]
    @test length(now.arrays) == 10
    given = Float32.(numbers(120, 84))
    Reference.set_parameter("dense2.weight", given)
    @test Reference.named_array("dense2.weight").value == given'
    out = similar(given)
    Reference.get_parameter("dense2.weight", out)
    @test out == given
    @test_throws ErrorException Reference.named_array("dense9.weight")
    deep = build("relu", "max", "float32"; network = "resnet18", shape = (16, 16))
    @test "layer2.0.downsample.1.running_var" in first.(deep.arrays)
    @test length(deep.arrays) == 102 && length(deep.parameters) == 62
end

@testset "training" begin
    order = reshape(collect(0:47), 12, 4)
    for rule in ("sgd", "adam", "adamw"), precision in ("float32", "float64")
        now = build("tanh", "average", precision; rule = rule)
        losses = zeros(4)
        for _ in 1:40
            Reference.train("train", order, fill(0.003, 4), PLAIN, losses)
        end
        @test sum(losses) / 4 < 0.9  # from log(3)
    end
end

@testset "several labels an image" begin
    now = build("tanh", "average", "float64")
    several = UInt8[mod(n, k + 1) == 0 for k in 1:3, n in 1:50]
    Reference.hand_over("several", pixels, several)
    losses = zeros(4)
    for _ in 1:60
        Reference.train("several", reshape(collect(0:47), 12, 4), fill(0.003, 4), PLAIN, losses)
    end
    @test sum(losses) / 4 < 0.62  # from log(2)
end

@testset "equal runs give equal bits" begin
    function run()
        build("relu", "max", "float32")
        losses = zeros(4)
        Reference.train("train", reshape(collect(0:47), 12, 4), fill(0.01, 4), PLAIN, losses)
        return losses, copy(Reference.named_array("conv1.weight").value)
    end
    @test run() == run()
end

@testset "a steady step allocates next to nothing" begin
    now = build("tanh", "average", "float32")
    order, losses = repeat(reshape(collect(0:47), 48, 1), 1, 8), zeros(8)
    Reference.train("train", order, fill(0.01, 8), PLAIN, losses)
    # The least of a few: all threads are counted, and what else Julia does meanwhile.
    bytes = minimum(1:3) do _
        @allocated Reference.train("train", order, fill(0.01, 8), PLAIN, losses)
    end
    # One convolution's output alone would be 48 * 6 * 12 * 14 * 4 = 193,536.
    @test bytes / 8 < 50_000
end

@testset "batch normalisation over all threads" begin
    struct Normalized
        conv
        norm
        dense
    end
    (net::Normalized)(x) = net.dense(net.norm(net.conv(x)))
    images = PipelineBench.Images{Float64}(pixels, labels, [0.5], [0.25])
    batch = PipelineBench.Batch(images, 1:7)
    function step(threads)
        norm = BatchNorm(Float64, 2; f = relu)
        net = Normalized(Conv(Float64, 3, 1 => 2; bias = false), norm, Dense(Float64, 240 => 3))
        net.conv.w.value .= numbers(3, 3, 1, 2)
        net.dense.w.value .= numbers(3, 240)
        engine = Engine{Float64}()
        engine.team = Team(threads)
        resize!(engine.tapes, 0)
        append!(engine.tapes, [Tape{Float64}(engine.team, member) for member in 1:threads])
        engine.losses = zeros(threads)
        loss = Reference.loss_and_gradients!(engine, net, batch)
        gradient = Reference.gradient(engine, net.conv.w)
        return loss, gradient, net.norm.running_mean, net.norm.running_var
    end
    if Threads.nthreads() == 1
        @info "one thread only: nothing to compare"
    else
        @test all(isapprox.(step(1), step(2); rtol = 1e-12))
    end
end

@testset "looking at a batch changes nothing" begin
    now = build("relu", "max", "float64"; network = "xraynet", shape = (16, 16))
    radiographs = UInt8.(mod.(reshape(1:16*16*8, 16, 16, 1, 8) .^ 2, 251))
    Reference.hand_over("images", radiographs, UInt8.(mod.(0:7, 3)))
    state() = [copy(Reference.value(array)) for (_, array) in now.arrays]
    before, logits = state(), zeros(3, 8)
    Reference.differentiate("images", 0:7, logits)
    @test state() == before
    again = zeros(3, 8)
    Reference.predict("images", 0, again)
    @test logits == again
    @test Reference.activation_maps("images", [0, 3], [2, 0]) == "1 1"
    Reference.train("images", reshape(0:7, 8, 1), [0.01], PLAIN, zeros(1))
    @test all(state() .!= before)
end

@testset "a network in a file of its own" begin
    folder = mktempdir()
    path = joinpath(folder, "onelayer.jl")
    write(path, """
        struct OneLayer; conv1; fc; end
        OneLayer(T, (width, height, channels), classes; activation, pooling) = OneLayer(
            Conv(T, 3, channels => 4; padding = 1, f = activation), Dense(T, 4 => classes))
        features(net::OneLayer, x) = net.conv1(x)
        classify(net::OneLayer, maps) = net.fc(average(maps))
        (net::OneLayer)(x) = classify(net, features(net, x))
        register_network("onelayer", OneLayer)
        """)
    make(network) = build("relu", "max", "float64"; network = network)
    @test_throws ErrorException make("onelayer")
    foreach(_ -> Reference.include_model(path), 1:2)  # the second time it is known
    @test "onelayer" in split(Reference.networks(), '\n')
    now = Base.invokelatest(make, "onelayer")
    @test first.(now.arrays) == ["conv1.weight", "conv1.bias", "fc.weight", "fc.bias"]
    losses = zeros(4)
    order = reshape(collect(0:47), 12, 4)
    Base.invokelatest(Reference.train, "train", order, fill(0.01, 4), PLAIN, losses)
    first_loss = losses[1]
    for _ in 1:20
        Base.invokelatest(Reference.train, "train", order, fill(0.01, 4), PLAIN, losses)
    end
    @test losses[1] < first_loss
    @test_throws Exception Reference.include_model(joinpath(folder, "nothing.jl"))
    @test "lenet5" in split(Reference.networks(), '\n')
end
