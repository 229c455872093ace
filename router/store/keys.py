"""Every key in Redis, in one place. One hash tag per partition, so that a script may touch them together.

=====================  ======  ==========================================================
key                    type    holds
=====================  ======  ==========================================================
ir:{p}:lease           hash    epoch (fencing token), owner, beat, seq
ir:{p}:in:hi, :lo      stream  accepted events not yet decided; critical ones in hi
ir:{p}:door:<n>        hash    what was accepted lately, by alert; two days' worth, TTL
ir:{p}:g:<group>       hash    h: head, p<n>: earlier generations, m<key>: members
ir:{p}:t:<group>       list    the group's timeline, newest last, bounded
ir:{p}:s:<service>     string  a service's deploy ledger
ir:{p}:open            zset    groups with an open incident, by the time it opened
ir:{p}:v:<service>     set     groups with an open incident of that service
ir:{p}:closed          zset    groups whose last incident is resolved, by when
ir:{p}:services        zset    service keys with a ledger, by the time of the last report
ir:{p}:due             set     aggregates (g:<group>, s:<service>) with something to deliver
ir:{p}:muted           set     groups in which an alert that fires is muted
ir:{p}:inhibits        hash    what inhibits: <key>|<group>|<alert> -> 1 where it is a target, too, else 0
ir:{p}:reviewed        hash    rules: the rulebook under which all groups were looked at; inhibits: counts
                               its changes, so that other processes know when to read it again
ir:{p}:onsets          zset    incidents that opened within a day, encoded, by when; bounded
ir:{p}:timers          zset    wake-ups, by when they are due
ir:{p}:dead            stream  dead letters, bounded
ir:{p}:unread          stream  dead letters that are deliveries, bounded by themselves: a flood of them
                               must not push out a page that could not be told
ir:{p}:b:<digest>      string  a large body of such a delivery, TTL
ir:{p}:tries           hash    failed decisions by inbox entry; emptied with the entry
ir:{meta}:config       hash    what may never change: partitions, schema
ir:{meta}:senders      hash    <what>:<sender> notes (decide/senders.py), told:<alert>, watch
ir:{meta}:instances    hash    living processes: name -> beat
ir:{meta}:silences     hash    silences by id
ir:{meta}:rules        hash    version, content: the rules in force, as every process reads them
=====================  ======  ==========================================================
"""

from __future__ import annotations

from typing import Final

CONFIG: Final = "ir:{meta}:config"
INSTANCES: Final = "ir:{meta}:instances"
SILENCES: Final = "ir:{meta}:silences"
RULES: Final = "ir:{meta}:rules"
REPORT: Final = "ir:{meta}:reconcile"
REF: Final = "ir:{meta}:ref:"
SENDERS: Final = "ir:{meta}:senders"
#: The version of all of the above. A store with a newer one is left alone.
SCHEMA: Final = 1


class Keys:
    """The keys of one partition, built once."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.tag = tag = f"ir:{{{partition}}}"
        self.lease = f"{tag}:lease"
        self.urgent = f"{tag}:in:hi"
        self.normal = f"{tag}:in:lo"
        self.open = f"{tag}:open"
        self.closed = f"{tag}:closed"
        self.services = f"{tag}:services"
        self.due = f"{tag}:due"
        self.muted = f"{tag}:muted"
        self.inhibits = f"{tag}:inhibits"
        self.reviewed = f"{tag}:reviewed"
        self.timers = f"{tag}:timers"
        self.onsets = f"{tag}:onsets"
        self.dead = f"{tag}:dead"
        self.unread = f"{tag}:unread"
        self.tries = f"{tag}:tries"
        self._door = f"{tag}:door:"
        self._group = f"{tag}:g:"
        self._timeline = f"{tag}:t:"
        self._service = f"{tag}:s:"
        self._by_service = f"{tag}:v:"
        self._body = f"{tag}:b:"

    def door(self, day: int) -> str:
        """Return the door's memory of one day (days since 1970)."""
        return f"{self._door}{day}"

    def group(self, group: str) -> str:
        """Return the hash of a group."""
        return self._group + group

    def timeline(self, group: str) -> str:
        """Return the timeline of a group."""
        return self._timeline + group

    def service(self, service_key: str) -> str:
        """Return the ledger of a service."""
        return self._service + service_key

    def body(self, digest: str) -> str:
        """Return a large body of a delivery in the dead letters."""
        return self._body + digest

    def by_service(self, service_key: str) -> str:
        """Return the index of open groups of a service."""
        return self._by_service + service_key
