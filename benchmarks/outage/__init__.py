"""An outage in virtual time: what retries do to a service that is down, and whether it comes back.

``python -m benchmarks outage [--seed N] [--json FILE] [--svg FILE] [--rst FILE]``. A hundred calls a second, at random
moments, to a service that is down for a minute and then back. It can serve 150 requests a second; while it is asked
more it serves none (it is busy refusing), as services do that share a pool of threads. So retries alone can keep it
down when the outage is long over: a metastable failure (Bronson et al., HotOS 2021).

The runtime is the real one and the network is a function: minutes of traffic take seconds. Nothing is timed, so the
figures are the same on each machine, for the same seed.
"""
