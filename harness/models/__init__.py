"""Models: one package each, with its card and its twin for each framework."""
