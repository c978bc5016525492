"""K-means against scikit-learn, NumPy loops, and itself on 1 and 8 devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from rpt_jax import target
from rpt_jax.training import sharding
from rpt_jax.units import kmeans, lloyd, seeding
from rpt_jax.units import rows as rows_lib

N, D, K = 5000, 16, 20
# One setting for most tests: compiling is what takes time here.
FIT = dict(restarts=2, max_iterations=10, precision='float32')


def blobs(seed=0, spread=1.0):
  rng = np.random.default_rng(seed)
  centre_KD = 4 * rng.standard_normal((K, D))
  x_ND = centre_KD[rng.integers(0, K, N)] + spread * rng.standard_normal((N, D))
  return (x_ND + 100).astype(np.float32)  # a mean that would ruin bfloat16


def anisotropic():
  rng = np.random.default_rng(3)
  stretch_DD = rng.standard_normal((D, D)) * np.geomspace(0.1, 3, D)
  return (rng.standard_normal((N, D)) @ stretch_DD).astype(np.float32)


def squared(x_ND, c_KD):
  x_ND, c_KD = np.float64(x_ND), np.float64(c_KD)
  return ((x_ND[:, None] - c_KD[None]) ** 2).sum(-1)


def mesh_of(devices):
  return jax.make_mesh(
    (devices,), ('data',), (AxisType.Auto,), devices=jax.devices()[:devices]
  )


def on_one_device(function, x_ND, weight_N=None):
  """Runs function(rows) as `kmeans.fit` would."""
  spec = jax.sharding.PartitionSpec
  if weight_N is None:
    weight_N = np.ones(len(x_ND), np.float32)

  def local(x_ND, weight_N):
    chunk = rows_lib.chunk_size(len(x_ND))
    return function(rows_lib.make_rows(x_ND, weight_N, chunk))

  run = jax.shard_map(
    local,
    mesh=mesh_of(1),
    in_specs=(spec('data'), spec('data')),
    out_specs=spec(),
    check_vma=False,
  )
  return jax.jit(run)(x_ND, weight_N)


@pytest.mark.parametrize('make', [blobs, anisotropic])
def test_inertia_is_within_one_percent_of_scikit_learn(make):
  cluster = pytest.importorskip('sklearn.cluster')
  x_ND = make()
  ours = kmeans.fit(x_ND, K, jax.random.key(0), restarts=3)
  peer = cluster.KMeans(K, n_init=3, random_state=0).fit(x_ND)
  assert float(ours.inertia) <= 1.01 * peer.inertia_
  exact = squared(x_ND, ours.c_KD).min(1).sum()
  np.testing.assert_allclose(ours.inertia, exact, rtol=1e-3)


def test_one_lloyd_step_is_a_numpy_loop():
  x_ND = blobs()
  start_KD = x_ND[:K]
  near_N = squared(x_ND, start_KD).argmin(1)
  expected_KD = np.stack([x_ND[near_N == k].mean(0) for k in range(K)])
  fitted = kmeans.fit(
    x_ND,
    K,
    jax.random.key(0),
    max_iterations=1,
    precision='float32',
    init_KD=start_KD,
  )
  np.testing.assert_allclose(fitted.c_KD, expected_KD, atol=2e-3)
  assert int(fitted.iterations) == 1
  near_N = squared(x_ND, fitted.c_KD).argmin(1)
  np.testing.assert_array_equal(
    fitted.count_K, np.bincount(near_N, minlength=K)
  )
  np.testing.assert_array_equal(
    kmeans.assign(fitted, x_ND, precision='float32'), near_N
  )


def test_sums_by_matmul_equal_sums_by_scatter():
  rng = np.random.default_rng(0)
  x_BD = rng.standard_normal((64, 5)).astype(np.float32)
  index_B, weight_B = rng.integers(0, 7, 64), rng.random(64).astype('f')
  total_KD, count_K = lloyd.cluster_sums(x_BD, index_B, weight_B, 7)
  hot_BK = np.eye(7)[index_B] * weight_B[:, None]
  np.testing.assert_allclose(total_KD, hot_BK.T @ x_BD, atol=1e-5)
  np.testing.assert_allclose(count_K, hot_BK.sum(0), rtol=1e-5)
  other = jax.jit(lloyd.sums_by_matmul, static_argnums=3)
  total_KD, count_K = other(x_BD, index_B, weight_B, 7)
  np.testing.assert_allclose(total_KD, hot_BK.T @ x_BD, atol=1e-5)
  np.testing.assert_allclose(count_K, hot_BK.sum(0), rtol=1e-5)


def test_greedy_seeds_beat_random_rows_and_are_rows():
  cluster = pytest.importorskip('sklearn.cluster')
  x_ND = blobs(spread=0.3)

  def seeds(rows):
    draw = jax.vmap(lambda k: seeding.greedy_plus_plus(rows, K, k))
    return draw(jax.random.split(jax.random.key(1), 8)) + rows.offset_D

  with jax.numpy_rank_promotion('allow'):
    seed_RKD = np.asarray(on_one_device(seeds, x_ND))
  greedy = np.mean([squared(x_ND, c).min(1).sum() for c in seed_RKD])

  def mean_of(draw):
    return np.mean([squared(x_ND, draw(i)).min(1).sum() for i in range(8)])

  rng = np.random.default_rng(0)
  assert greedy < 0.3 * mean_of(lambda _: x_ND[rng.choice(N, K)])
  plain = mean_of(
    lambda i: cluster.kmeans_plusplus(
      x_ND, K, random_state=i, n_local_trials=1
    )[0]
  )
  assert greedy < 0.8 * plain
  assert squared(seed_RKD[0], x_ND).min(1).max() < 1e-6


def test_dead_clusters_move_to_the_farthest_rows():
  # All centroids start on one row that most of the data repeats.
  rng = np.random.default_rng(0)
  x_ND = np.zeros((500, 4), np.float32)
  x_ND[480:] = 10 * rng.standard_normal((20, 4))
  fitted = kmeans.fit(
    x_ND, 8, jax.random.key(0), init_KD=np.zeros((8, 4), np.float32)
  )
  assert (np.asarray(fitted.count_K) > 0).all()
  cold = squared(x_ND, np.zeros((1, 4))).min(1).sum()
  assert float(fitted.inertia) < 0.4 * cold


def test_fewer_distinct_rows_than_clusters_leaves_the_rest_empty():
  x_ND = np.repeat(np.eye(3, dtype=np.float32), 50, axis=0)
  fitted = kmeans.fit(x_ND, 6, jax.random.key(0))
  assert float(fitted.inertia) < 1e-6
  assert np.count_nonzero(fitted.count_K) == 3
  assert np.isfinite(fitted.c_KD).all()


def test_a_row_that_has_a_cluster_of_its_own_gets_no_second_one():
  x_ND = np.float32([[0, 0], [0, 0], [100, 100]])
  init_KD = np.float32([[0, 0], [100, 100], [1000, -1000]])
  fitted = kmeans.fit(x_ND, 3, jax.random.key(0), init_KD=init_KD)
  assert np.asarray(fitted.count_K).tolist() == [2, 1, 0]
  np.testing.assert_allclose(fitted.c_KD, init_KD, atol=1e-3)


@pytest.mark.parametrize('batch_size', [0, 512])
def test_same_key_same_bits(batch_size):
  x_ND = blobs()
  settings = dict(FIT, batch_size=batch_size)
  first = kmeans.fit(x_ND, K, jax.random.key(7), **settings)
  again = kmeans.fit(x_ND, K, jax.random.key(7), **settings)
  other = kmeans.fit(x_ND, K, jax.random.key(8), **settings)
  jax.tree.map(np.testing.assert_array_equal, first, again)
  assert not np.array_equal(first.c_KD, other.c_KD)


def mesh_of_axes(*sizes):
  return sharding.make_mesh(dict(zip(sharding.AXES, sizes, strict=True)))


@pytest.mark.parametrize('batch_size', [0, 512])
@pytest.mark.parametrize('sizes', [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_eight_devices_agree_with_one(batch_size, sizes):
  # Sums of float32 in another order. The rows, 5000, divide neither by the
  # chunk nor by 8 chunks.
  x_ND = blobs()
  fits = [
    kmeans.fit(
      x_ND,
      K,
      jax.random.key(0),
      batch_size=batch_size,
      mesh=mesh,
      **FIT,
    )
    for mesh in (mesh_of(1), mesh_of_axes(*sizes))
  ]
  np.testing.assert_allclose(fits[0].c_KD, fits[1].c_KD, atol=1e-5)
  np.testing.assert_allclose(fits[0].inertia, fits[1].inertia, rtol=1e-5)
  assert int(fits[0].iterations) == int(fits[1].iterations)
  for temperature in (0.0, 50.0):
    n_N, other_N = (
      kmeans.assign(
        fits[0],
        x_ND,
        jax.random.key(1),
        temperature,
        precision='float32',
        mesh=mesh_of(devices),
      )
      for devices in (1, 8)
    )
    np.testing.assert_array_equal(n_N, other_N)


def test_minibatch_is_close_to_scikit_learn():
  cluster = pytest.importorskip('sklearn.cluster')
  x_ND = anisotropic()
  ours = kmeans.fit(
    x_ND,
    K,
    jax.random.key(0),
    batch_size=500,
    restarts=3,
    tolerance=0.0,
    max_no_improvement=100,
    reassignment_ratio=0.0,
  )
  peer = cluster.MiniBatchKMeans(
    K,
    batch_size=500,
    n_init=3,
    max_iter=100,
    tol=0.0,
    max_no_improvement=100,
    reassignment_ratio=0.0,
    random_state=0,
  ).fit(x_ND)
  np.testing.assert_allclose(ours.inertia, peer.inertia_, rtol=0.02)


def test_minibatch_moves_unused_centroids():
  x_ND = blobs()
  start_KD = np.full((K, D), 1e4, np.float32)
  start_KD[0] = x_ND.mean(0)
  settings = dict(batch_size=500, init_KD=start_KD)
  kept = kmeans.fit(
    x_ND, K, jax.random.key(0), reassignment_ratio=0.0, **settings
  )
  moved = kmeans.fit(x_ND, K, jax.random.key(0), **settings)
  assert np.count_nonzero(kept.count_K) == 1
  assert np.count_nonzero(moved.count_K) > K // 2


def test_bfloat16_inertia_is_within_a_thousandth_of_float32():
  x_ND = anisotropic()
  inertia = {
    precision: float(
      kmeans.fit(
        x_ND, K, jax.random.key(0), init_KD=x_ND[:K], precision=precision
      ).inertia
    )
    for precision in target.OPERANDS
  }
  assert inertia['bfloat16'] <= 1.001 * inertia['float32']


def test_one_direction_that_dwarfs_the_rest_asks_for_float32(capsys):
  """At 100 deviations bfloat16 gave 20 times the inertia, without a word."""
  rng = np.random.default_rng(0)
  centre_KD = rng.normal(size=(20, 64))
  x_ND = centre_KD[rng.integers(20, size=N)] + 0.1 * rng.normal(size=(N, 64))
  assert not kmeans.is_dwarfed(x_ND)
  x_ND[:, 7] = 100 * np.sign(rng.normal(size=N)) + 2 * rng.normal(size=N)
  x_ND = x_ND.astype(np.float32)
  assert kmeans.is_dwarfed(x_ND)
  about = x_ND, K, jax.random.key(0)
  fitted = {
    precision: kmeans.fit(*about, **{**FIT, 'precision': precision})
    for precision in target.OPERANDS
  }
  assert 'one direction dwarfs the rest' in capsys.readouterr().out
  coarse, fine = fitted['bfloat16'], fitted['float32']
  np.testing.assert_array_equal(coarse.c_KD, fine.c_KD)
  np.testing.assert_array_equal(
    kmeans.assign(fine, x_ND, precision='bfloat16'),
    kmeans.assign(fine, x_ND, precision='float32'),
  )


def small_codebook():
  c_KD = np.array([[0, 0], [1, 0], [0, 2], [3, 3]], np.float32)
  return kmeans.Codebook(
    jnp.asarray(c_KD), jnp.zeros(2), jnp.zeros(()), jnp.ones(4), jnp.zeros(())
  )


def test_stochastic_frequencies_are_the_softmax():
  stats = pytest.importorskip('scipy.stats')
  codebook, temperature = small_codebook(), 1.5
  x_ND = np.tile(np.array([[0.4, 0.3]], np.float32), (20_000, 1))
  n_N = kmeans.assign(
    codebook,
    x_ND,
    jax.random.key(0),
    temperature,
    precision='float32',
  )
  weight_K = np.exp(-squared(x_ND[:1], codebook.c_KD)[0] / temperature)
  expected_K = len(x_ND) * weight_K / weight_K.sum()
  found_K = np.bincount(n_N, minlength=4)
  assert stats.chisquare(found_K, expected_K).pvalue > 1e-3


def test_a_small_temperature_is_the_nearest():
  x_ND = blobs()
  codebook = kmeans.fit(x_ND, K, jax.random.key(0), **FIT)
  near_N = kmeans.assign(codebook, x_ND, precision='float32')
  key = jax.random.key(0)
  cold_N = kmeans.assign(codebook, x_ND, key, 1e-4, precision='float32')
  np.testing.assert_array_equal(cold_N, near_N)


def test_host_rows_stream_in_slabs_with_the_same_draws():
  x_ND = np.tile(blobs(), (2, 1))[: kmeans.SLAB + 700]
  codebook = kmeans.fit(x_ND[:N], K, jax.random.key(0), **FIT)
  for temperature in (0.0, 20.0):
    key = jax.random.key(2)
    slabs_N = kmeans.assign(codebook, x_ND, key, temperature)
    whole_N = kmeans.assign(codebook, jnp.asarray(x_ND), key, temperature)
    np.testing.assert_array_equal(slabs_N, whole_N)


def test_assign_works_inside_jit_and_takes_float16():
  x_ND = (blobs() - 100).astype(np.float16)
  codebook = kmeans.fit(x_ND, K, jax.random.key(0), **FIT)
  inside_N = jax.jit(kmeans.assign)(codebook, x_ND)
  np.testing.assert_array_equal(inside_N, kmeans.assign(codebook, x_ND))


def test_examples_are_the_nearest_rows_of_a_unit():
  x_ND = np.array([[0.0], [9.0], [1.0], [10.5], [2.5], [10.0]], np.float32)
  codebook = kmeans.Codebook(
    np.array([[1.2], [10.0], [99.0]], np.float32), *[np.zeros(1, 'f4')] * 4
  )
  n_KC = kmeans.examples(codebook, x_ND, 4)
  assert n_KC.tolist() == [[2, 0, 4, -1], [5, 3, 1, -1], [-1] * 4]
  assert kmeans.examples(codebook, x_ND, 1).tolist() == [[2], [5], [-1]]


def test_what_a_process_has_whole_stays_where_it_is():
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  x_N = rows_lib.replicate(jnp.arange(8.0), mesh)
  assert rows_lib.local([x_N])[0] is x_N
  np.testing.assert_array_equal(jax.jit(rows_lib.local)(x_N), x_N)


def test_bad_input_says_what_to_do():
  x_ND, key = blobs()[:50], jax.random.key(0)
  codebook = small_codebook()
  bad_ND = x_ND.copy()
  bad_ND[7, 3] = np.inf
  flat_ND = np.zeros((3, 2), np.float32)
  cases = [
    ('num_clusters', lambda: kmeans.fit(x_ND, 51, key)),
    ('num_clusters', lambda: kmeans.fit(x_ND, 0, key)),
    ('NaN or infinite', lambda: kmeans.fit(bad_ND, 4, key)),
    ('precision', lambda: kmeans.fit(x_ND, 4, key, precision='half')),
    ('restarts', lambda: kmeans.fit(x_ND, 4, key, restarts=0)),
    ('tolerance', lambda: kmeans.fit(x_ND, 4, key, tolerance=-1.0)),
    ('init_KD', lambda: kmeans.fit(x_ND, 4, key, init_KD=x_ND[:3])),
    ('temperature', lambda: kmeans.assign(codebook, flat_ND, key, -1.0)),
    ('temperature', lambda: kmeans.assign(codebook, flat_ND, key, np.nan)),
    ('key', lambda: kmeans.assign(codebook, flat_ND, temperature=1.0)),
    ('width', lambda: kmeans.assign(codebook, x_ND)),
    (
      'NaN or inf',
      lambda: kmeans.assign(codebook, flat_ND + np.float32('nan')),
    ),
    (
      'NaN or inf',
      lambda: kmeans.assign(codebook, flat_ND - np.float32('inf')),
    ),
  ]
  for match, call in cases:
    with pytest.raises(ValueError, match=match):
      call()


def test_data_of_about_as_many_rows_share_what_is_compiled():
  rng = np.random.default_rng(0)
  sizes = 2 * rows_lib.CHUNK + 10, 3 * rows_lib.CHUNK - 10
  before = kmeans._lloyd._cache_size()
  for size in sizes:
    x_ND = rng.normal(size=(size, 3)).astype(np.float32)
    fitted = kmeans.fit(x_ND, 4, jax.random.key(0), restarts=1)
    assert fitted.count_K.sum() == size
  assert kmeans._lloyd._cache_size() == before + 1


def test_tolerance_says_when_to_stop():
  """Lloyd ends once centroids move less; at 0 it goes on until nothing does."""
  x_ND = anisotropic()

  def fit(tolerance, most=60):
    return kmeans.fit(
      x_ND,
      K,
      jax.random.key(0),
      restarts=1,
      max_iterations=most,
      tolerance=tolerance,
      precision='float32',
      init_KD=x_ND[:K],
    )

  loose, middle, tight = (fit(t) for t in (1e6, 1e-2, 0.0))
  assert int(loose.iterations) == 1
  assert 1 < int(middle.iterations) < int(tight.iterations)
  assert float(tight.inertia) < float(middle.inertia) < float(loose.inertia)
