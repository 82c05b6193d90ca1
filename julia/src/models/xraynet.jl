"XrayNet: takes (W, H, C, N), gives logits (classes, N)."
struct XrayNet
    conv1
    bn1
    conv2
    bn2
    conv3
    bn3
    conv4
    bn4
    conv5
    bn5
    fc
    pool
end

function XrayNet(T, (_, _, channels), classes; options...)
    conv(channels) = Conv(T, 3, channels; padding = 1, bias = false)
    norm(channels) = BatchNorm(T, channels)
    return XrayNet(
        conv(channels => 8), norm(8), conv(8 => 16), norm(16), conv(16 => 32), norm(32),
        conv(32 => 48), norm(48), conv(48 => 64), norm(64), Dense(T, 64 => classes), Pool(0),
    )
end

function features(net::XrayNet, x)
    # ReLU keeps the order of values, so after the pooling it has a quarter of the work.
    x = relu.(net.pool(net.bn1(net.conv1(x))))
    x = relu.(net.pool(net.bn2(net.conv2(x))))
    x = relu.(net.pool(net.bn3(net.conv3(x))))
    x = relu.(net.pool(net.bn4(net.conv4(x))))
    return relu.(net.bn5(net.conv5(x)))
end

classify(net::XrayNet, maps) = net.fc(average(maps))

(net::XrayNet)(x) = classify(net, features(net, x))

register_network("xraynet", XrayNet)
