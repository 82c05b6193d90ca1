"""Julia: Knet.jl, and the same models on an engine of the standard library alone."""
