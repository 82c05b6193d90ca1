"""Proof that frameworks compute the same: ``bench parity``.

From the same weights and the same batches every framework is held against a reference, PyTorch in
float64 (``trace``, ``deviations``). Where one deviates, known mistakes are made on purpose in the
reference, one at a time, until it computes the same wrong numbers: that names what is wrong and in
which layer (``mistakes``, ``diagnosis``). ``certificate`` keeps what was found beside a run.
"""
