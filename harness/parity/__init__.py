"""Proof that frameworks compute the same: ``bench parity``.

From the same weights and the same batches every framework is compared with ``harness.reference``,
the protocol in NumPy and float64 (``trace``, ``deviations``). Where one deviates, known faults are
planted in the reference, one at a time, until it computes the same wrong numbers: that names what
is wrong and in which layer (``diagnosis``). ``certificate`` keeps what was found beside a run.
"""

STEPS, QUICK_STEPS = 110, 12
"""Training steps of a proof, and of a quick one."""
