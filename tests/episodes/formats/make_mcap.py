"""Writes data/mcap by rosbags, which is no dependency of the tests.

Run with `pip install rosbags` (0.11.9 wrote what lies there):
python tests/episodes/formats/make_mcap.py
"""

import pathlib
import shutil

import numpy as np
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

PLACE = pathlib.Path(__file__).parent / 'data' / 'mcap'
# Folder: what rosbags calls its storage, and how its messages are compressed.
KINDS = {
  'episode_0': (StoragePlugin.SQLITE3, None),
  'episode_1': (StoragePlugin.MCAP, CompressionMode.STORAGE),
  'episode_2': (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
}
STEPS, START, PERIOD = 6, 1_700_000_000 * 10**9, 10**8
STORE = get_typestore(Stores.ROS2_HUMBLE)


def messages(t, time):
  """(topic, type, fields, seconds after the frame) of everything at a step."""
  types = STORE.types
  stamp = types['builtin_interfaces/msg/Time'](sec=time // 10**9, nanosec=0)
  header = types['std_msgs/msg/Header'](stamp=stamp, frame_id='world')
  yield (
    *('/cam/image_raw', 'sensor_msgs/msg/Image', 0.0),
    {
      **dict(header=header, height=2, width=3, encoding='bgr8'),
      **dict(is_bigendian=0, step=12),
      'data': np.arange(t, t + 24, dtype=np.uint8),
    },
  )
  yield (
    *('/joint_states', 'sensor_msgs/msg/JointState', 0.01),
    {
      **dict(header=header, name=['a', 'b'], velocity=np.zeros(0)),
      **dict(position=np.array([t, t / 8]), effort=np.array([-t, 1.0])),
    },
  )
  point = types['geometry_msgs/msg/Point'](x=1.0, y=2.0, z=t / 4)
  turn = types['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0)
  pose = types['geometry_msgs/msg/Pose'](position=point, orientation=turn)
  of_pose = dict(header=header, pose=pose)
  yield '/eef', 'geometry_msgs/msg/PoseStamped', 0.02, of_pose
  if t == 0:
    yield '/instruction', 'std_msgs/msg/String', 0.0, {'data': 'pick it up'}


def main():
  shutil.rmtree(PLACE, ignore_errors=True)
  PLACE.mkdir(parents=True)
  for name, (storage, mode) in KINDS.items():
    writer = Writer(PLACE / name, version=9, storage_plugin=storage)
    if mode is not None:
      from rosbags.rosbag2 import CompressionFormat

      writer.set_compression(mode, CompressionFormat.ZSTD)
    connections = {}
    with writer:
      for t in range(STEPS):
        time = START + t * PERIOD
        for topic, kind, late, fields in messages(t, time):
          if topic not in connections:
            connections[topic] = writer.add_connection(
              topic, kind, typestore=STORE
            )
          data = STORE.serialize_cdr(STORE.types[kind](**fields), kind)
          writer.write(connections[topic], time + int(late * 1e9), data)


if __name__ == '__main__':
  main()
