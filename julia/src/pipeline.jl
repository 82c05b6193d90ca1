# The networks and their training, for whichever engine the including module provides:
#
#   Param(array), value(param)        a trainable array
#   conv4, pool, relu, tanh, mat, cat, *   as Knet has them
#   batchnorm(x, scale, shift, running_mean, running_var)
#   Engine{T}()                       what an engine keeps between steps
#   loss_and_gradients!(engine, network, batch) -> loss;  gradient(engine, param) -> array
#   logits!(out, engine, network, batch) -> out
#   maps_and_gradients(engine, network, batch, outputs) -> last feature maps, and there the
#       gradients of logits
#   engine_name() -> text

include("layers.jl")
include("networks.jl")
include("train.jl")
