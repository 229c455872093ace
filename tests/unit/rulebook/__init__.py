"""Tests of the rulebook room: Alertmanager's meaning, and clear answers to mistakes."""
