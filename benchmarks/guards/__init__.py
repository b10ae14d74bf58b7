"""What guards cost a call that succeeds, around work that does nothing: ours, those of others, and the usual stacks.

A sample is the CPU time of many calls of the guarded function, less that of as many bare ones, in one task that never
has to wait. Rates are so high that no limiter is ever in the way. Ours run on trio, the others on asyncio: most of them
cannot do otherwise. (It makes no difference to a loop that never gets its turn.)

Ours is all of it: retry loop and budget, breaker, limiter, and the histogram, which no stack has.
"""

from .plan import scenarios as scenarios
