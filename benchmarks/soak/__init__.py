"""Faults and cancellations against real sockets, for as long as you like: what must hold is asserted all along.

``python -m benchmarks soak --seconds 60 --seed 1``. A server in a child process answers in every way that a server can
(`peer.py`), partly over TLS and partly through fault proxies (`scene.py`); many callers call it through a runtime, and
are cancelled after a number of task steps that is drawn anew for each call, so at every await that a call has
(`callers.py`). Meanwhile actors crash, services come, go and are changed, and instances move (`trouble.py`). Exit code
1 if anything that must hold does not.
"""
