# The networks and their training, for whichever engine the including module provides:
#
#   Param(array), value(param)        a trainable array
#   conv4, pool, relu, tanh, mat, *   as Knet has them
#   Engine{T}()                       what an engine keeps between steps
#   loss_and_gradients!(engine, network, batch) -> loss;  gradient(engine, param) -> array
#   scores!(out, engine, network, batch) -> out
#   engine_name() -> text

include("models/layers.jl")
include("models/lenet5.jl")
include("models/models.jl")
include("optimizers.jl")
include("train.jl")
