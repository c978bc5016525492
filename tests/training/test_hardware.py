import jax
import pytest

from rpt_jax.training import hardware


# Dense bf16 TFLOP/s, GiB, GB/s of its memory and of its links, as the vendors'
# data sheets have them.
@pytest.mark.parametrize(
  'kind, name, sheet',
  [
    ('TPU v4', 'v4', (275, 32, 1228, 300)),
    ('TPU v5 lite', 'v5e', (197, 16, 819, 200)),
    ('TPU v5e', 'v5e', (197, 16, 819, 200)),
    ('TPU v5', 'v5p', (459, 95, 2765, 600)),
    ('TPU v5p', 'v5p', (459, 95, 2765, 600)),
    ('TPU v6 lite', 'v6e', (918, 32, 1640, 400)),
    ('NVIDIA A100-SXM4-80GB', 'A100', (312, 80, 2039, 300)),
    ('NVIDIA H100 80GB HBM3', 'H100', (989, 80, 3350, 450)),
    ('NVIDIA H200', 'H200', (989, 141, 4800, 450)),
  ],
)
def test_chips_are_known_by_their_device_kind(kind, name, sheet):
  chip = hardware.chip(kind)
  flops, gib, bandwidth, links = sheet
  assert (chip.name, chip.flops) == (name, flops * 1e12)
  assert chip.hbm_bytes == gib * 2**30
  assert chip.hbm_bandwidth == bandwidth * 1e9
  assert chip.interconnect == links * 1e9
  # No chip has less than 100 FLOPs, or more than 600, for a byte it reads.
  assert 100 < chip.flops / chip.hbm_bandwidth < 600
  assert chip.interconnect < chip.hbm_bandwidth


def test_memory_of_two_a100s_differs():
  small = hardware.chip('NVIDIA A100-SXM4-40GB')
  assert small.hbm_bytes == hardware.chip('NVIDIA A100 80GB PCIe').hbm_bytes / 2


def test_what_is_not_known_is_measured_once(monkeypatch):
  assert hardware.chip('cpu') is None
  peak = hardware.peak_flops()
  assert peak > 1e8
  # Fake devices share one CPU: the peak is not that times their number.
  assert peak == hardware.measured_flops()
  assert len(jax.devices()) == 8


def test_the_peak_is_that_of_all_devices(monkeypatch):
  class Device:
    device_kind, platform = 'TPU v5 lite', 'tpu'

  monkeypatch.setattr(jax, 'local_devices', lambda: [Device] * 4)
  monkeypatch.setattr(jax, 'device_count', lambda: 256)
  assert hardware.peak_flops() == 256 * 197e12
