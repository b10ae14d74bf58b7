"""Fleets with a fault in virtual time, called by the real actors.

``python -m benchmarks fleet [SCENE ...] [--seed N] [--json FILE] [--svg FILE] [--rst FILE]``. The runtime, its registry
and its services are the real ones, and the network is a function; `benchmarks.balance` has the same fleets for the
balancers alone, which is faster and says less. Nothing is timed, so the figures are the same on each machine, for the
same seed.

``servers`` are what is called, ``scenes`` say what is wrong with them and what is promised, ``picture`` draws.
"""
