"""The families of scenarios: knobs of how a fleet lives and how badly it is reported. Frozen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True)
class Family:
    """Knobs. Shares and probabilities are from 0 to 1; rates are per day and of the whole fleet unless said.

    Args:
        name: goes into the seed and the truth.
        days: simulated, from a Monday on.
        services: how many, in four layers.
        deploys_per_day: to production, of each service on average, on weekdays in office hours.
        trains: share of deploys that leave in a train of several services.
        aborted: deploys that fail, are superseded or stop at green, as a share of the others.
        bad: share of deploys with a defect.
        onset_min: median of the minutes between the switch and the fault's onset; log-normal.
        onset_sigma: of the logarithm of that.
        leaks: share of defects that show only after hours.
        simultaneous: chance that a bad deploy has a bad neighbour of another service.
        blips: share of good deploys whose restart is noticed for some minutes.
        background_per_day: faults that no change causes.
        shared: share of them that hit many services at once.
        paired: share of the others that begin 1 to 15 minutes after an innocent deploy of the service.
        during: chance that an innocent deploy of the service happens while a fault lasts.
        cascade: chance per hop that a caller suffers, too.
        callers_only: chance that only callers have alerts.
        flappers: services with an alert that flaps.
        flaps_per_day: of each of them.
        masked: chance that a bad deploy's service flaps around the onset.
        flags_per_day: feature flags switched without harm.
        flag_faults_per_day: feature flags switched that do harm.
        config_syncs_per_day: of each Argo CD application: syncs without a new version.
        staging_per_day: faults in staging.
        unseen: share of production deploys that nobody reports.
        lost: share of webhooks that never arrive.
        duplicated: share of webhooks that arrive twice.
        late_s: mean lateness of GitLab's and Argo CD's webhooks; Alertmanager's are ten times as quick.
        very_late: share of webhooks that are minutes late.
        skew_s: sigma of the clocks' error, drawn once for GitLab and once for Argo CD.
        ha_hours: per day, in which both of two Alertmanagers send.
        unlabelled: share of alert rules without a service or an env label.
        versioned: share of services whose alerts carry the version that runs.
        unresolved: share of alerts whose end is never told.
        refire: chance that a long alert stops for some minutes and fires again.
        missing_edges: share of dependencies that the catalogue lacks.
    """

    name: str
    days: int = 3
    services: int = 60
    deploys_per_day: float = 1.5
    trains: float = 0.10
    aborted: float = 0.04
    bad: float = 0.04
    onset_min: float = 4.0
    onset_sigma: float = 1.0
    leaks: float = 0.03
    simultaneous: float = 0.12
    blips: float = 0.03
    background_per_day: float = 4.5
    shared: float = 0.10
    paired: float = 0.15
    during: float = 0.15
    cascade: float = 0.4
    callers_only: float = 0.15
    flappers: int = 3
    flaps_per_day: float = 12.0
    masked: float = 0.05
    flags_per_day: float = 3.0
    flag_faults_per_day: float = 0.3
    config_syncs_per_day: float = 0.25
    staging_per_day: float = 0.7
    unseen: float = 0.05
    lost: float = 0.01
    duplicated: float = 0.02
    late_s: float = 20.0
    very_late: float = 0.01
    skew_s: float = 10.0
    ha_hours: float = 2.0
    unlabelled: float = 0.03
    versioned: float = 0.10
    unresolved: float = 0.03
    refire: float = 0.10
    missing_edges: float = 0.0


_BASE: Final = Family("baseline")

FAMILIES: Final[dict[str, Family]] = {
    each.name: each
    for each in (
        _BASE,
        replace(
            _BASE,
            name="noisy",
            blips=0.15,
            background_per_day=6.75,
            flappers=6,
            flaps_per_day=20.0,
            refire=0.2,
        ),
        replace(_BASE, name="busy", deploys_per_day=4.0, trains=0.40, bad=0.015),
        replace(_BASE, name="slow", onset_min=20.0, onset_sigma=1.2, leaks=0.25),
        replace(
            _BASE,
            name="lossy",
            unseen=0.20,
            lost=0.05,
            late_s=120.0,
            very_late=0.05,
            skew_s=90.0,
            missing_edges=0.20,
        ),
        replace(
            _BASE,
            name="storm",
            shared=0.50,
            cascade=0.8,
            paired=0.40,
            masked=0.5,
            flappers=6,
            flaps_per_day=20.0,
        ),
        replace(_BASE, name="innocent", bad=0.0, flag_faults_per_day=0.0, background_per_day=9.0),
    )
}
