"""Models in folders that can be handed on, and what becomes of their weights.

How a saved policy acts is `policy`'s; the face is `rpt_jax/pretrained.py`.
"""

from rpt_jax.sharing.folder import load_scales, save_scales
from rpt_jax.sharing.loading import Plan, Surgery, load

__all__ = ['Plan', 'Surgery', 'load', 'load_scales', 'save_scales']
