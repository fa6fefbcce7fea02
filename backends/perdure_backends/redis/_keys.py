"""The names of our keys. All of a shard's share one hash tag, and so one slot of a Redis Cluster.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations


class Keys:
    """The keys of one shard.

    ``index`` sorted sets hold members by time: runs by serial, activities as ``serial:number``.

    Args:
        prefix: chosen by the user.
        shard: its number.
    """

    def __init__(self, prefix: str, shard: int) -> None:
        self.base = base = f"{{{prefix}:{shard}}}:"
        self.meta = f"{base}meta"
        self.nothing = f"{base}nothing"  # never there; see apply.lua
        self.ids = f"{base}ids"  # hash: run id → serial
        self.current = f"{base}current"  # hash: instance id → serial of its newest run
        self.run = f"{base}run:"  # + serial, hash: row and revision
        self.start = f"{base}start:"  # + serial
        self.outcome = f"{base}outcome:"  # + serial, hash
        self.published = f"{base}published:"  # + serial
        self.history = f"{base}history:"  # + serial, list of turns
        self.inbox = f"{base}inbox:"  # + serial, hash: seq → entry
        self.timers = f"{base}timers:"  # + serial, hash: number → due time
        self.pending = f"{base}pending:"  # + serial, set of numbers of activities
        self.activity = f"{base}activity:"  # + serial:number, hash: row, rest, details, failure
        self.lineage = f"{base}lineage:"  # + serial of the first run, set of serials
        self.messages = f"{base}messages:"  # + lineage, set of digests
        self.updates = f"{base}updates:"  # + lineage, hash: digest → stage, result, failure
        self.children = f"{base}children:"  # + run id, set of serials
        self.owned = f"{base}owned:"  # + session, set of runs and activities
        self.hold = f"{base}hold:"  # + member: claims in the making
        self.started = f"{base}started"  # index of all runs
        self.in_state = f"{base}in:"  # + state but completed, index of runs by their start
        self.documents = f"{base}documents:"  # + collection, sorted set of keys
        self.document = f"{base}document:"  # + collection, hash: key → value
        self.ready = f"{base}ready"  # index
        self.ready_in = f"{base}ready:"  # + queue, index
        self.parked = f"{base}parked"  # index
        self.suspects = f"{base}suspects"  # index, of runs and activities that run alone
        self.offered = f"{base}offered"  # index of activities that wait
        self.offered_in = f"{base}offered:"  # + queue:priority, index
        self.priorities = f"{base}priorities:"  # + queue, sorted set
        self.due = f"{base}due"  # index of timers (t:), runs (r:) and activities (a:)
        self.sessions = f"{base}sessions"  # hash
        self.expiries = f"{base}expiries"  # sorted set: session → end of its lease
        self.queries = f"{base}queries"  # sorted set: query → when it is forgotten
        self.open = f"{base}open"  # the same of those that are not answered
        self.query = f"{base}query:"  # + id, hash
        self.queries_of = f"{base}queries-of:"  # + serial, set
        self.limits = f"{base}limits"  # hash: queue → limit; levels are those of the first shard
        self.outbox = f"{base}outbox"  # hash: number → what goes to another shard
        self.outbox_due = f"{base}outbox:due"  # sorted set: number → when anybody may take it over
