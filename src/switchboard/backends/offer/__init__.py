"""What a backend offers: asked for, checked, kept for the fleet, and followed as it changes.

* `discovery` keeps it true in the background: one worker of the fleet asks, as often as `refresh_schedule` allows
* `listing` asks for the lists; `sanitize` and `schemas` make definitions fit to be offered, or say why they are not
* `offer` is the result; `offer_cache` is its copy in Redis, for the other workers
* `personal_offers` asks for each person, where a backend offers nothing to whoever has not signed in there
* `resource_subscriptions` follows the resources that clients of this worker subscribed to; `resource_updates` tells
  them, no more often than they can read

Asks on connections that others open; serves no call.
"""
