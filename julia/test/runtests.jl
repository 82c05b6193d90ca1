using PipelineBench
using SHA: sha256
using Test

@testset "augmented images" begin
    pixels = reshape(UInt8.(1:24), 4, 3, 1, 2)
    images = PipelineBench.Images{Float64}(pixels, UInt8[0, 1], [0.0], [1.0])
    augmentation = [1 0; 0 1; 0 -2]  # the first is mirrored, the second goes down 1 and left 2
    x = zeros(4, 3, 1, 2)
    PipelineBench.inputs!(x, PipelineBench.Batch(images, [1, 2], augmentation))
    @test x[:, :, 1, 1] * 255 ≈ pixels[end:-1:1, :, 1, 1]
    shifted = zeros(4, 3)
    shifted[1:2, 2:3] = pixels[3:4, 1:2, 1, 2]
    @test x[:, :, 1, 2] * 255 ≈ shifted
    PipelineBench.inputs!(x, PipelineBench.Batch(images, [1, 2], [0 0; 9 0; 0 -9]))
    @test all(iszero, x)
end

@testset "pixels are normalised as the protocol says" begin
    pixels = UInt8.(mod.(reshape(1:4*3*2*2, 4, 3, 2, 2) .^ 2, 251))
    images = PipelineBench.Images{Float64}(pixels, UInt8[2, 0], [0.5, 0.25], [0.25, 0.5])
    x = zeros(4, 3, 2, 1)
    PipelineBench.inputs!(x, PipelineBench.Batch(images, [2]))
    @test x[:, :, 2, 1] ≈ (pixels[:, :, 2, 2] ./ 255 .- 0.25) ./ 0.5
    @test PipelineBench.targets!(zeros(Int, 2), images, [1, 2]) == [3, 1]  # counted from 1
    @test_throws BoundsError PipelineBench.inputs!(x, PipelineBench.Batch(images, [3]))
end

@testset "several labels an image" begin
    pixels, labels = zeros(UInt8, 2, 2, 1, 3), UInt8[0 1 1; 1 0 1]
    images = PipelineBench.Images{Float32}(pixels, labels, [0.0], [1.0])
    @test PipelineBench.target_shape(images, 2) == (Float32, (2, 2))
    @test PipelineBench.targets!(zeros(Float32, 2, 2), images, [3, 1]) == [1 0; 1 1]
end

@testset "update rules" begin
    p, g = [1.0, -2.0], [0.5, 0.25]
    rule = PipelineBench.Momentum(0.9, 0.1, zeros(2))
    PipelineBench.update!(p, g, 0.1, rule)
    v = g .+ 0.1 .* [1.0, -2.0]
    @test p ≈ [1.0, -2.0] .- 0.1 .* v
    before = copy(p)
    PipelineBench.update!(p, g, 0.2, rule)
    @test p ≈ before .- 0.2 .* (0.9 .* v .+ g .+ 0.1 .* before)

    p = [1.0, -2.0]
    rule = PipelineBench.Adam(0.9, 0.999, 1e-8, 0.0, false, zeros(2), zeros(2), 0)
    PipelineBench.update!(p, g, 0.1, rule)
    @test p ≈ [1.0, -2.0] .- 0.1 .* g ./ (abs.(g) .+ 1e-8)

    p = [1.0, -2.0]
    rule = PipelineBench.Adam(0.9, 0.999, 1e-8, 0.3, true, zeros(2), zeros(2), 0)
    PipelineBench.update!(p, g, 0.1, rule)
    @test p ≈ [1.0, -2.0] .* (1 - 0.1 * 0.3) .- 0.1 .* g ./ (abs.(g) .+ 1e-8)
end

@testset "digests of what was received" begin
    record = PipelineBench.Received.Record()
    order, rates, augmentation = [0 2; 1 3], [0.1, 0.2], zeros(Int, 0, 2, 2)
    PipelineBench.Received.keep!(record, order, rates, augmentation)
    order .= 9  # what the caller does later does not matter
    expected = [bytes2hex(sha256(reinterpret(UInt8, vec(x)))) for x in ([0 2; 1 3], rates)]
    @test split(PipelineBench.Received.digests(record)) == [expected..., "none"]
    PipelineBench.Received.keep!(record, order, rates, zeros(Int, 3, 2, 2))
    @test split(PipelineBench.Received.digests(record))[3] != "none"
end

@testset "digest of images" begin
    pixels, labels = rand(UInt8, 4, 3, 2, 5), UInt8[0, 1, 2, 3, 4]
    bytes = vcat(vec(pixels[:, :, :, 4]), vec(pixels[:, :, :, 1]), UInt8[3, 0])
    @test PipelineBench.Received.images_digest(pixels, labels, [4, 1]) == bytes2hex(sha256(bytes))
    several = rand(UInt8, 2, 5)
    bytes = vcat(vec(pixels[:, :, :, 2]), several[:, 2])
    @test PipelineBench.Received.images_digest(pixels, several, [2]) == bytes2hex(sha256(bytes))
end

@testset "calls by address" begin
    Bridge = PipelineBench.Bridge
    Bridge.register("probe", @eval module Probe
        add(n::Int, x::Float64, text::String) = n + x + parse(Float64, text)
        fail() = error("as asked")
    end)
    text = "0.5"
    shape = (sizeof(text), 0, 0, 0, 0, 0)
    arguments = [
        Bridge.Argument(0, 0, 0, shape, 0.0, 7),
        Bridge.Argument(1, 0, 0, shape, 0.25, 0),
        Bridge.Argument(2, 0, 0, shape, 0.0, Int64(pointer(text))),
    ]
    out = [Bridge.Reply(0, 0, 0, 0)]
    function call(name, count)
        GC.@preserve name text arguments out Bridge.call(
            Int64(pointer(name)), Int64(pointer(arguments)), count, Int64(pointer(out)),
        )
        return out[1]
    end
    @test (call("probe.add", 3).kind, out[1].number) == (1, 7.75)
    for name in ("probe.fail", "probe.absent", "nowhere.add")
        @test call(name, 0).kind == 3
    end
    @test occursin("no function probe.absent", (call("probe.absent", 0); Bridge.TEXT[]))
end
