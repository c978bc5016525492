"""Policies that drive robots, real or simulated: `load`, `reset`, `act`."""

from rpt_jax.policy.acting import Policy
from rpt_jax.policy.program import Execution
from rpt_jax.policy.saved import load_scales, save_scales

__all__ = ['Execution', 'Policy', 'load_scales', 'save_scales']
