"""The families of scenarios: what kind of days a fleet has. Each is frozen; seeds vary what happens."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Family:
    """How a fleet lives. Rates are per day, shares and probabilities from 0 to 1, times in minutes."""

    name: str
    days: int = 3
    services: int = 60
    deploys: float = 1.5  # of each service and working day; a few deploy often, many seldom
    bad: float = 0.04
    onset: float = 4.0  # median of what lies between the switch and the fault
    onset_spread: float = 1.0  # sigma of its logarithm
    background: float = 4.0  # faults of the whole fleet that no deploy causes
    paired: float = 0.05  # of them: within 15 min of a harmless deploy there; chance gives 0.015
    shared: float = 0.10  # of them: one cause outside the catalogue, many services
    flappers: int = 3
    flaps: float = 6.0
    blips: float = 0.03  # harmless deploys whose restart alone makes an alert fire
    cascade: float = 0.4  # that a caller fails, too, for each call
    callers_only: float = 0.08
    trains: float = 0.10
    unseen: float = 0.05
    config: float = 0.08
    flags: float = 0.05
    lost: float = 0.01
    late: float = 0.33  # mean delay of a webhook
    skew: float = 10.0  # seconds, sigma, of the deploy tools' clocks
    twice: float = 0.02
    unlabelled: float = 0.02
    edges_missing: float = 0.0
    masked: float = 0.0  # bad deploys of which a flapper's service is the victim
    refire: float = 0.08


BASELINE = Family("baseline")
FAMILIES = {
    f.name: f
    for f in (
        BASELINE,
        replace(BASELINE, name="noisy", blips=0.15, flappers=6, flaps=12.0, background=6.0),
        replace(BASELINE, name="busy", deploys=4.0, trains=0.4, bad=0.015),
        replace(BASELINE, name="slow", onset=20.0, onset_spread=1.2),
        replace(
            BASELINE, name="lossy", unseen=0.20, lost=0.05, late=1.5, skew=90.0, edges_missing=0.2,
            unlabelled=0.06, twice=0.10,
        ),
        replace(
            BASELINE, name="storm", shared=0.5, cascade=0.8, paired=0.40, masked=0.3, flaps=10.0, refire=0.2
        ),
        replace(BASELINE, name="innocent", bad=0.0, flags=0.0, background=6.0, paired=0.3),
    )
}  # fmt: skip
