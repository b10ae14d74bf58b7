"""Balancers in virtual time: fleets of servers with faults, and clients that choose among them.

``simulation`` is the core: events, servers of two kinds, clients that hold a balancer each. ``fleets`` has the scenes.
Each policy meets the same stream of arrivals and of work; nothing is timed, so the figures are the same on each
machine, for the same seed.
"""
