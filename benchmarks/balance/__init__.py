"""Balancers in virtual time: ``python -m benchmarks balance [--seeds N] [--json FILE] [--rst FILE]``.

Fleets with something wrong in them, and clients that hold a balancer each. Only the balancers are real here: no
breaker, no retry and no ejection helps them. ``simulation`` is the core, ``fleets`` has the scenes, ``prequal`` a rule
that is not ours, to compare with. Each policy meets the same arrivals and the same work; nothing is timed, so the
figures are the same on each machine, for the same seeds.
"""
