"""Clocks, the machine and the statistics of what was measured."""
