const GROWTH = 32  # channels that a layer adds

"What it computes is appended to what it was given."
struct DenseLayer
    norm1
    conv1
    norm2
    conv2
end

DenseLayer(T, inputs) = DenseLayer(
    BatchNorm(T, inputs; f = relu),
    Conv(T, 1, inputs => 4GROWTH; bias = false),
    BatchNorm(T, 4GROWTH; f = relu),
    Conv(T, 3, 4GROWTH => GROWTH; padding = 1, bias = false),
)

(layer::DenseLayer)(x) =
    cat(x, layer.conv2(layer.norm2(layer.conv1(layer.norm1(x)))); dims = 3)

"Half the channels, half the size."
struct Transition
    norm
    conv
    pool
end

Transition(T, inputs) = Transition(
    BatchNorm(T, inputs; f = relu), Conv(T, 1, inputs => inputs ÷ 2; bias = false), Pool(1),
)

(layer::Transition)(x) = layer.pool(layer.conv(layer.norm(x)))

"DenseNet-121 (Huang et al. 2017): takes (W, H, C, N), gives logits (classes, N)."
struct DenseNet121
    conv0
    norm0
    denseblock1
    transition1
    denseblock2
    transition2
    denseblock3
    transition3
    denseblock4
    norm5
    classifier
    pool0
end

function DenseNet121(T, (_, _, channels), classes; options...)
    block(inputs, layers) = Tuple(DenseLayer(T, inputs + GROWTH * n) for n in 0:layers-1)
    return DenseNet121(
        Conv(T, 7, channels => 64; padding = 3, stride = 2, bias = false),
        BatchNorm(T, 64; f = relu),
        block(64, 6), Transition(T, 256),
        block(128, 12), Transition(T, 512),
        block(256, 24), Transition(T, 1024),
        block(512, 16),
        BatchNorm(T, 1024; f = relu),
        Dense(T, 1024 => classes),
        Pool(0; window = 3, stride = 2, padding = 1),
    )
end

function features(net::DenseNet121, x)
    x = net.pool0(net.norm0(net.conv0(x)))
    x = net.transition1(chain(net.denseblock1, x))
    x = net.transition2(chain(net.denseblock2, x))
    x = net.transition3(chain(net.denseblock3, x))
    return net.norm5(chain(net.denseblock4, x))
end

classify(net::DenseNet121, maps) = net.classifier(average(maps))

(net::DenseNet121)(x) = classify(net, features(net, x))

register_network("densenet121", DenseNet121)
