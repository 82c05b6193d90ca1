"""The protocol in executable form: networks, losses and update rules in plain NumPy.

Slow and independent of every framework. ``bench parity`` compares each framework with it, and its
operations are tested against finite differences.

``tape`` records operations and differentiates them, ``operations`` are those of the networks,
``losses``, ``optimizers`` and ``images`` what happens around them, ``network`` gives the layers of
a network their parameters, and ``training`` trains. ``faults`` makes known mistakes on purpose.
"""
