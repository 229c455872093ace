"""The closed list of reasons.

The same word is found in a decision, in the log, in a metric's label, in a
message's footer and in the API, so that "why?" never needs a log search.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Why(StrEnum):
    """Why something was decided. Values are stable: they are stored and graphed."""

    # alerts
    ALERT_NEW = "alert_new"
    ALERT_CHANGED = "alert_changed"
    ALERT_RESOLVED = "alert_resolved"
    ALERT_REFIRED = "alert_refired"
    ALERT_REPEATED = "alert_repeated"
    ALERT_STALE = "alert_stale"
    RESOLVE_BEFORE_FIRING = "resolve_before_firing"
    PAYLOAD_TRUNCATED = "payload_truncated"
    # incidents
    INCIDENT_OPENED = "incident_opened"
    INCIDENT_REOPENED = "incident_reopened"
    INCIDENT_WAITING = "incident_waiting"
    INCIDENT_NOTIFIED = "incident_notified"
    INCIDENT_RESOLVED = "incident_resolved"
    RESOLVED_BEFORE_NOTIFIED = "resolved_before_notified"
    SEVERITY_ROSE = "severity_rose"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED_BY_HAND = "resolved_by_hand"
    UNACKNOWLEDGED = "unacknowledged"
    SNOOZED = "snoozed"
    INCIDENT_WOKE = "incident_woke"
    ASSIGNED = "assigned"
    NOTED = "noted"
    MERGED = "merged"
    INCIDENT_QUIET = "incident_quiet"
    INCIDENT_FLIPPED = "incident_flipped"
    INCIDENT_MUTED = "incident_muted"
    INCIDENT_UNMUTED = "incident_unmuted"
    INCIDENT_HELD = "incident_held"
    INCIDENT_RELEASED = "incident_released"
    INCIDENT_REPEATED = "incident_repeated"
    INCIDENT_ESCALATED = "incident_escalated"
    INTERVAL_WAITED = "interval_waited"
    ALERT_MUTED = "alert_muted"
    ALERT_MOVED = "alert_moved"
    COMMAND_IGNORED = "command_ignored"
    UNKNOWN_INCIDENT = "unknown_incident"
    NOBODY_TO_TELL = "nobody_to_tell"
    # deploys
    DEPLOY_RECORDED = "deploy_recorded"
    DEPLOY_UNCHANGED = "deploy_unchanged"
    DEPLOY_OUT_OF_ORDER = "deploy_out_of_order"
    CHANGE_RECORDED = "change_recorded"
    # suspicion, for
    SAME_SERVICE = "same_service"
    DEPENDENCY = "dependency"
    SWITCHED_BEFORE_ONSET = "switched_before_onset"
    STARTED_BEFORE_ONSET = "started_before_onset"
    VERSION_LABEL_MATCHES = "version_label_matches"
    DEPLOYED_SERVICE_FAILS = "deployed_service_fails"
    CALLERS_FAIL = "callers_fail"
    PERSISTS = "persists"
    CURED_BY_ROLLBACK = "cured_by_rollback"
    ROLLED_BACK_MEANWHILE = "rolled_back_meanwhile"
    RARE_ALERT = "rare_alert"
    # suspicion, against
    ENDED_BY_ITSELF = "ended_by_itself"
    SOMEWHERE = "somewhere"
    FREQUENT_ALERT = "frequent_alert"
    DEPLOYED_SERVICE_IS_WELL = "deployed_service_is_well"
    OTHERS_FAIL_TOO = "others_fail_too"
    CALLEE_FAILS = "callee_fails"
    MAY_BE_RESTART = "may_be_restart"
    FIRED_BEFORE = "fired_before"
    SUPERSEDED = "superseded"
    IS_A_ROLLBACK = "is_a_rollback"
    ROLLBACK_DID_NOT_HELP = "rollback_did_not_help"
    MACHINE_ALERT = "machine_alert"
    ONSET_BEFORE_SWITCH = "onset_before_switch"
    OUTSIDE_WINDOW = "outside_window"
    DEPLOY_FAILED = "deploy_failed"
    VERSION_LABEL_DIFFERS = "version_label_differs"
    OTHER_DEPLOYS_COMPETE = "other_deploys_compete"
    # a person's word on a suspicion
    DEPLOY_CONFIRMED = "deploy_confirmed"
    DEPLOY_REFUTED = "deploy_refuted"
    SUSPECT_FOUND = "suspect_found"
    NO_SUSPECT = "no_suspect"
    EXPERIENCED = "experienced"
    BLAME_TOLD = "blame_told"
    JOINED_PROBLEM = "joined_problem"
    # delivery
    DELIVERED = "delivered"
    DELIVERY_RETRIED = "delivery_retried"
    DELIVERY_REFUSED = "delivery_refused"
    DELIVERY_UNSURE = "delivery_unsure"
    DELIVERY_EXPIRED = "delivery_expired"
    DELIVERY_DOUBTED = "delivery_doubted"
    DELIVERY_REVIVED = "delivery_revived"
    DELIVERY_BEGUN = "delivery_begun"
    DELIVERY_UNNEEDED = "delivery_unneeded"


class Reason(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One reason: a closed word and a sentence for people.

    ``weight`` is positive where it speaks for something, negative where it
    speaks against, 0 where it only tells.
    """

    why: Why
    text: str = ""
    weight: float = 0.0
