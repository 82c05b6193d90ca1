"LeNet-5 (LeCun et al. 1998): takes (W, H, C, N), gives logits (classes, N)."
struct LeNet5
    conv1
    conv2
    dense1
    dense2
    dense3
    pool
end

function LeNet5(T, (width, height, channels), classes; activation, pooling)
    features = 16 * ((width ÷ 2 - 4) ÷ 2) * ((height ÷ 2 - 4) ÷ 2)
    return LeNet5(
        Conv(T, 5, channels => 6; f = activation, padding = 2),
        Conv(T, 5, 6 => 16; f = activation),
        Dense(T, features => 120; f = activation),
        Dense(T, 120 => 84; f = activation),
        Dense(T, 84 => classes),
        pooling,
    )
end

function features(net::LeNet5, x)
    x = net.pool(net.conv1(x))
    return net.pool(net.conv2(x))
end

classify(net::LeNet5, maps) = net.dense3(net.dense2(net.dense1(maps)))

(net::LeNet5)(x) = classify(net, features(net, x))

register_network("lenet5", LeNet5)
