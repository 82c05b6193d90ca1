"The all-convolutional net: takes (W, H, C, N), gives logits (classes, N)."
struct AllConv
    conv1
    conv2
    conv3
    conv4
    fc
end

function AllConv(T, (_, _, channels), classes; options...)
    conv(channels; stride = 1) = Conv(T, 3, channels; f = relu, padding = 1, stride = stride)
    return AllConv(
        conv(channels => 16), conv(16 => 16; stride = 2), conv(16 => 32),
        conv(32 => 32; stride = 2), Dense(T, 32 => classes),
    )
end

features(net::AllConv, x) = chain((net.conv1, net.conv2, net.conv3, net.conv4), x)

classify(net::AllConv, maps) = net.fc(average(maps))

(net::AllConv)(x) = classify(net, features(net, x))

register_network("bench_allconv", AllConv)
