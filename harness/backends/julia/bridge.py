"""Julia inside this process: start it, call it, stop it.

What crosses is described in ``julia/src/bridge.jl``: an array of plain structs. Arrays go by
address and are never copied; a C-order array of shape (a, b, c) is a Julia array of size
(c, b, a). Both bridges start ``libjulia`` alike and differ in who makes the calls.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.backends.julia.installation import Installation
from harness.errors import WorkerError

Argument = int | float | str | NDArray[np.generic]

_ELEMENTS = ("uint8", "int64", "float32", "float64")
_NUMBER, _FLOAT, _TEXT, _ARRAY = range(4)
_MOST_AXES = 6


class _Argument(ctypes.Structure):
    """The twin of ``Bridge.Argument``."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        ("element", ctypes.c_int64),
        ("axes", ctypes.c_int64),
        ("shape", ctypes.c_int64 * _MOST_AXES),
        ("number", ctypes.c_double),
        ("address", ctypes.c_int64),
    )


class _Reply(ctypes.Structure):
    """The twin of ``Bridge.Reply``."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        ("number", ctypes.c_double),
        ("address", ctypes.c_int64),
        ("bytes", ctypes.c_int64),
    )


class Bridge(ABC):
    """A running Julia. There can be one in a process, and only the thread that started it calls."""

    name: str

    def __init__(self, installation: Installation, load_path: Sequence[Path]) -> None:
        """Start Julia and load the package ``PipelineBench``.

        Threads and other settings come from ``installation.environment``, which must be in the
        process's environment by now. ``load_path`` holds folders of packages of ours.

        Raises:
            WorkerError: Julia or the package did not start; the details hold Julia's trace.
        """
        # Symbols global: the system image looks up those of libjulia in the process.
        self._julia = julia = ctypes.PyDLL(str(installation.libjulia), mode=ctypes.RTLD_GLOBAL)
        try:
            start = julia.jl_init_with_image__threading  # up to Julia 1.8
        except AttributeError:
            start = julia.jl_init_with_image
        start.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        start.restype = None
        julia.jl_eval_string.argtypes = [ctypes.c_char_p]
        julia.jl_eval_string.restype = ctypes.c_void_p
        julia.jl_unbox_int64.argtypes = [ctypes.c_void_p]
        julia.jl_unbox_int64.restype = ctypes.c_int64
        julia.jl_atexit_hook.argtypes = [ctypes.c_int]
        julia.jl_atexit_hook.restype = None
        # By its explicit path: Debian keeps the image where Julia does not look by itself.
        start(str(installation.bindir).encode(), str(installation.system_image).encode())
        # Last: since Julia 1.9 a package is looked up no further than the environment in which
        # its name was found, and the dependencies of ours are installed in the user's project.
        for folder in load_path:
            self.add_to_load_path(folder)
        atexit.register(self.stop)
        self._connect()

    @abstractmethod
    def _connect(self) -> None:
        """Load the package and find the function that answers calls."""

    @abstractmethod
    def _answer(self, name: int, arguments: int, count: int, reply: int) -> None:
        """``Bridge.call`` with these addresses."""

    def evaluate(self, code: str) -> int:
        """Run Julia code whose value is a whole number.

        Raises:
            WorkerError: with Julia's message, and its trace in the details.
        """
        trial = (
            f"try Int64(begin {code} end) catch error; global _bench_trace = "
            "sprint(showerror, error, catch_backtrace()); typemin(Int64) end"
        )
        value = self._julia.jl_eval_string(trial.encode())
        if not value:
            raise WorkerError(f"Julia cannot read: {code}")
        number: int = self._julia.jl_unbox_int64(value)
        if number == -(2**63):
            address = self._julia.jl_eval_string(b"Int64(pointer(_bench_trace))")
            trace = ctypes.string_at(self._julia.jl_unbox_int64(address)).decode()
            raise _julia_error(trace)
        return number

    def add_to_load_path(self, folder: Path) -> None:
        """Let Julia find the package in ``folder``, after everything else."""
        self.evaluate(f"push!(LOAD_PATH, {_literal(str(folder))}); 0")

    def call(self, function: str, *arguments: Argument) -> float | str | None:
        """Call ``module.function`` of Julia.

        Arrays must be C-contiguous, of uint8, int64, float32 or float64, with at most 6 axes;
        Julia may write into them and must not keep them.

        Raises:
            WorkerError: a Julia exception: its message, with Julia's trace in the details.
        """
        name = ctypes.create_string_buffer(function.encode())
        packed = (_Argument * len(arguments))()
        kept = [_pack(slot, value) for slot, value in zip(packed, arguments, strict=True)]
        reply = _Reply()
        self._answer(
            ctypes.addressof(name), ctypes.addressof(packed), len(kept), ctypes.addressof(reply)
        )
        if reply.kind == 0:
            return None
        if reply.kind == 1:
            return float(reply.number)
        text = ctypes.string_at(reply.address, reply.bytes).decode()
        if reply.kind == 3:
            raise _julia_error(text)
        return text

    def stop(self) -> None:
        """Let Julia run what it does at exit; no call may follow. Otherwise Python's exit does."""
        atexit.unregister(self.stop)
        self._julia.jl_atexit_hook(0)


class LibjuliaBridge(Bridge):
    """Nothing but ``libjulia`` and ctypes: enough for any Julia."""

    name = "libjulia through ctypes"

    def _connect(self) -> None:
        address = self.evaluate("import PipelineBench; PipelineBench.Bridge.address()")
        self._call = ctypes.PYFUNCTYPE(None, *[ctypes.c_int64] * 4)(address)

    def _answer(self, name: int, arguments: int, count: int, reply: int) -> None:
        self._call(name, arguments, count, reply)


class JuliaCallBridge(Bridge):
    """juliacall makes the calls.

    It attaches to the Julia started above in place of starting its own: so it needs neither
    juliapkg nor a network, and signals stay with Julia, whose threads need theirs.
    """

    name = "juliacall"

    def _connect(self) -> None:
        # Before its import, and for versions before 0.7 under the older name.
        os.environ["PYTHON_JULIACALL_INIT"] = "no"
        os.environ["PYTHON_JULIACALL_NOINIT"] = "yes"
        juliacall = importlib.import_module("juliacall")
        python = ctypes.pythonapi._handle
        os.environ["JULIA_PYTHONCALL_EXE"] = sys.executable
        # PythonCall takes this process's libpython from one of these or from the global below,
        # depending on its release: 0.6 reads the first, 0.9.24 the global, 0.9.37 the second.
        handles = {
            "JULIA_PYTHONCALL_LIBPTR": str(python),
            "__JULIA_PYTHONCALL_EMBEDDED_LIBPTR__": hex(python),
        }
        os.environ |= handles
        self.evaluate(
            f"global __PythonCall_libptr = Ptr{{Cvoid}}(UInt({python})); import PythonCall; 0"
        )
        for name in handles:  # a Julia that this process starts is not embedded in it
            del os.environ[name]
        self.evaluate("import PipelineBench; 0")
        self.name = f"juliacall {metadata.version('juliacall')}"
        self._call = juliacall.Main.PipelineBench.Bridge.call

    def _answer(self, name: int, arguments: int, count: int, reply: int) -> None:
        self._call(name, arguments, count, reply)


def _literal(text: str) -> str:
    """``text`` as a Julia string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _julia_error(trace: str) -> WorkerError:
    return WorkerError(f"Julia: {trace.splitlines()[0]}", trace)


def _pack(slot: _Argument, value: Argument) -> object:
    """Describe ``value`` in ``slot``; returns what must live as long as the call."""
    if isinstance(value, str):
        encoded = value.encode()
        text = ctypes.create_string_buffer(encoded, len(encoded) + 1)
        slot.kind, slot.shape[0], slot.address = _TEXT, len(encoded), ctypes.addressof(text)
        return text
    if isinstance(value, np.ndarray):
        if not value.flags.c_contiguous or value.ndim > _MOST_AXES:
            raise ValueError(f"an array of {value.ndim} axes that is not C-contiguous cannot cross")
        slot.kind, slot.axes, slot.address = _ARRAY, value.ndim, value.ctypes.data
        slot.element = _ELEMENTS.index(value.dtype.name)
        slot.shape[: value.ndim] = value.shape
        return value
    if isinstance(value, float):
        slot.kind, slot.number = _FLOAT, value
    else:
        slot.kind, slot.address = _NUMBER, value
    return value
