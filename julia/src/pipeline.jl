# The networks and their training, for whichever engine the including module provides:
#
#   Param(array), value(param)        a trainable array
#   conv4, pool, relu, tanh, mat, cat, *   as Knet has them
#   batchnorm(x, scale, shift, running_mean, running_var)
#   Engine{T}()                       what an engine keeps between steps
#   loss_and_gradients!(engine, network, batch) -> loss;  gradient(engine, param) -> array
#   scores!(out, engine, network, batch) -> out
#   maps_and_slopes(engine, network, batch, outputs) -> last feature maps, gradients of scores there
#   engine_name() -> text

include("models/layers.jl")
include("models/lenet5.jl")
include("models/xraynet.jl")
include("models/resnet18.jl")
include("models/densenet121.jl")
include("models/models.jl")
include("optimizers.jl")
include("train.jl")
