"""Policies that drive robots, real or simulated: `load`, `reset`, `act`."""

from rpt_jax.policy.acting import Policy
from rpt_jax.policy.execution import Execution

__all__ = ['Execution', 'Policy']
