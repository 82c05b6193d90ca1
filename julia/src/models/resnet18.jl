# Layers are called as in torchvision.

"Two 3x3 convolutions and, where they change the shape, a 1x1 convolution beside them."
struct BasicBlock
    conv1
    bn1
    conv2
    bn2
    downsample
end

function BasicBlock(T, (inputs, outputs), stride)
    conv(kernel, channels; options...) = Conv(T, kernel, channels; bias = false, options...)
    beside = (conv(1, inputs => outputs; stride = stride), BatchNorm(T, outputs))
    return BasicBlock(
        conv(3, inputs => outputs; stride = stride, padding = 1),
        BatchNorm(T, outputs; f = relu),
        conv(3, outputs => outputs; padding = 1),
        BatchNorm(T, outputs),
        stride == 1 && inputs == outputs ? () : beside,
    )
end

function (block::BasicBlock)(x)
    y = block.bn2(block.conv2(block.bn1(block.conv1(x))))
    return relu.(y .+ chain(block.downsample, x))
end

"ResNet-18 (He et al. 2016): takes (W, H, C, N), gives logits (classes, N)."
struct ResNet18
    conv1
    bn1
    layer1
    layer2
    layer3
    layer4
    fc
    pool
end

const SMALL = 64  # pixels a side: up to here the stem keeps the size

function ResNet18(T, (width, height, channels), classes; options...)
    small = max(width, height) <= SMALL
    stage((inputs, outputs), stride) =
        (BasicBlock(T, inputs => outputs, stride), BasicBlock(T, outputs => outputs, 1))
    return ResNet18(
        small ? Conv(T, 3, channels => 64; padding = 1, bias = false) :
        Conv(T, 7, channels => 64; padding = 3, stride = 2, bias = false),
        BatchNorm(T, 64; f = relu),
        stage(64 => 64, 1),
        stage(64 => 128, 2),
        stage(128 => 256, 2),
        stage(256 => 512, 2),
        Dense(T, 512 => classes),
        small ? identity : Pool(0; window = 3, stride = 2, padding = 1),
    )
end

function features(net::ResNet18, x)
    x = net.pool(net.bn1(net.conv1(x)))
    x = chain(net.layer2, chain(net.layer1, x))
    return chain(net.layer4, chain(net.layer3, x))
end

classify(net::ResNet18, maps) = net.fc(average(maps))

(net::ResNet18)(x) = classify(net, features(net, x))

register_network("resnet18", ResNet18)
