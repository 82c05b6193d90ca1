"A network by the file that holds it, as the model cards of the harness name it."
build_network(module_name, T, shape, classes, f, pool) =
    Dict("lenet5" => LeNet5)[module_name](
        T, shape, classes; f = activation(f), pool = pooling(pool),
    )
