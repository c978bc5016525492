"""Clips as the stage encode leaves them: one shard, sealed."""

from rpt_jax.episodes import store


def save(directory, clips):
  """Writes clips as one shard and its manifest."""
  cuts = clips.offsets
  episodes = {
    i: {k: x[cuts[i] : cuts[i + 1]] for k, x in clips.arrays.items()}
    for i in range(len(clips.lengths))
  }
  shard = store.Shard(0, 1, 0, len(episodes))
  store.write_shard(directory, shard, episodes, {})
  store.seal(directory, store.finished(directory, [shard]))
