"A network by the file that holds it, as the model cards of the harness name it."
function build_network(module_name, T, shape, classes, f, pool)
    module_name == "lenet5" &&
        return LeNet5(T, shape, classes; f = activation(f), pool = pooling(pool))
    networks = Dict("xraynet" => XrayNet, "resnet18" => ResNet18, "densenet121" => DenseNet121)
    return networks[module_name](T, shape, classes)
end
