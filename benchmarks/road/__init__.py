"""Where the time of a guarded call goes: CPU of each part of its road, in a call and alone.

"in a call": of a running service the stack is looked at now and then (`sampled.py`), and the modules found there tell
what it was at. These add up to the whole. "event loop" is trio's: choosing tasks, switching, epoll.

"alone": the road has four stretches. Each is measured as it is, on the objects of a running service, with the next one
replaced by something that has its answer ready; the whole is their sum. What is below a stretch is a part of it, in a
loop of its own. Alone, each part finds its code and data in the caches, so this is what it would cost at best; and what
it makes the event loop do counts here as its own.

* actor: from `Service.get` to the actor and back: the request is built and checked, asked, timed and recorded.
* road: past the guards: breaker, limiter, balancer, credentials; at the end the body is decoded.
* door: the head is encoded, a connection taken and given back, the answer parsed.
* socket: is it stale? send, wait, receive; against a real server. (Most of this is in the kernel of the machine.)
"""

from .plan import scenarios as scenarios
