"""RLDS as TFDS keeps it (ArrayRecord, TFRecord), without TensorFlow."""
