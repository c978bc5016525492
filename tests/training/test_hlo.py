"""Traffic with memory, of programs short enough to be counted by hand."""

import pytest

from rpt_jax.training import hlo

PROGRAM = """
ENTRY %main (p: f32[100], u: f32[7], i: s32[]) -> f32[10] {{
  %p = f32[100]{{0}} parameter(0)
  %u = f32[7]{{0}} parameter(1)
  %i = s32[] parameter(2)
  ROOT %r = {}
}}
"""


@pytest.mark.parametrize(
  ('instruction', 'numbers'),
  (
    ('f32[100]{0} negate(%p)', 2 * 100),
    # Of what is sliced the rest is not read, or not written.
    ('f32[10]{0} slice(%p), slice={[0:10]}', 2 * 10),
    ('f32[10]{0} dynamic-slice(%p, %i), dynamic_slice_sizes={10}', 2 * 10),
    ('f32[100]{0} dynamic-update-slice(%p, %u, %i)', 2 * 7),
    ('f32[100]{0} bitcast(%p)', 0),
  ),
)
def test_bytes_that_are_moved(instruction, numbers):
  assert hlo.read(PROGRAM.format(instruction), 1).hbm_bytes == 4 * numbers
