"""The conformance kit on Knet.jl and on the reference engine."""

from __future__ import annotations

from harness.testing.backend import BackendConformance


class TestKnet(BackendConformance):
    backend = "knet"
    models = ("xraynet",)


class TestJuliaReference(BackendConformance):
    backend = "julia-reference"
    models = ("xraynet",)
