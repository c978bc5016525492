"""Held-out measures, rollouts and how sure they are."""
