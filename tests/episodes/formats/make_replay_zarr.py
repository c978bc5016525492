"""Writes data/replay_zarr, once, as Diffusion Policy and UMI write theirs.

With the zarr of their time: pip install 'zarr<3' 'numcodecs<0.16' imagecodecs;
python -m tests.episodes.formats.make_replay_zarr
"""

import pathlib

import numpy as np

DATA = pathlib.Path(__file__).parent / 'data' / 'replay_zarr'
ENDS = (4, 11, 16)
STEPS = ENDS[-1]


def pusht() -> dict[str, np.ndarray]:
  """The arrays of Diffusion Policy's pusht, at 6 pixels."""
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 8, (STEPS, 6, 6, 3)) * 36
  return {
    'action': rng.uniform(0, 512, (STEPS, 2)).astype(np.float32),
    'img': frames.astype(np.float32),
    'keypoint': rng.uniform(0, 512, (STEPS, 9, 2)).astype(np.float32),
    'n_contacts': rng.integers(0, 3, (STEPS, 1)).astype(np.float32),
    'state': rng.uniform(0, 512, (STEPS, 5)).astype(np.float32),
  }


def umi() -> dict[str, np.ndarray]:
  """The arrays of UMI with one gripper, at 10 pixels."""
  rng = np.random.default_rng(1)
  return {
    'camera0_rgb': rng.integers(0, 256, (STEPS, 10, 10, 3), np.uint8),
    'robot0_demo_end_pose': rng.normal(size=(STEPS, 6)),
    'robot0_demo_start_pose': rng.normal(size=(STEPS, 6)),
    'robot0_eef_pos': rng.normal(size=(STEPS, 3)).astype(np.float32),
    'robot0_eef_rot_axis_angle': rng.normal(size=(STEPS, 3)).astype(np.float32),
    'robot0_gripper_width': rng.normal(size=(STEPS, 1)).astype(np.float32),
  }


def _write(store, arrays, chunks, compressors):
  import zarr

  root = zarr.group(store=store, overwrite=True)
  for name, array in arrays.items():
    root.require_group('data').create_dataset(
      name,
      data=array,
      chunks=(chunks.get(name, 7), *array.shape[1:]),
      compressor=compressors.get(name, compressors['']),
    )
  root.require_group('meta').create_dataset(
    'episode_ends', data=np.array(ENDS, np.int64), compressor=None
  )


def main():
  import imagecodecs.numcodecs
  import numcodecs
  import zarr

  imagecodecs.numcodecs.register_codecs(verbose=False)
  disk = numcodecs.Blosc('zstd', clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
  _write(zarr.DirectoryStore(DATA / 'pusht.zarr'), pusht(), {}, {'': disk})
  frame = imagecodecs.numcodecs.Jpegxl(effort=3)
  codecs = {'': numcodecs.Blosc('lz4', shuffle=0), 'camera0_rgb': frame}
  with zarr.ZipStore(DATA / 'umi.zarr.zip', mode='w') as store:
    _write(store, umi(), {'camera0_rgb': 1}, codecs)


if __name__ == '__main__':
  main()
