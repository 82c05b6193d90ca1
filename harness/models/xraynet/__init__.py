"""xraynet: its card, and its twin for each framework."""
