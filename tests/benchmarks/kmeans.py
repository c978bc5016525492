"""K-means against faiss-cpu and scikit-learn: same data, start, threads.

Lloyd: N = 200k, D = 384, K = 500, ten iterations from the same centroids.
Assignment: the same rows to the same centroids, against faiss flat search.
Each round runs every contender once (interleaved); medians are compared.
"""

import statistics
import time

import jax
import numpy as np

from rpt_jax.units import kmeans

N, D, K, ITERATIONS, ROUNDS = 200_000, 384, 500, 10, 3
THREADS = 2


def _data() -> tuple[np.ndarray, np.ndarray]:
  """Returns overlapping clusters and K distinct rows to start from."""
  rng = np.random.default_rng(0)
  centre_KD = rng.standard_normal((2 * K, D), dtype=np.float32)
  x_ND = centre_KD[rng.integers(0, 2 * K, N)]
  x_ND += 2 * rng.standard_normal((N, D), dtype=np.float32)
  return x_ND, x_ND[rng.choice(N, K, replace=False)].copy()


def _inertia(x_ND: np.ndarray, c_KD: np.ndarray) -> float:
  """Returns the inertia of centroids by exact differences."""
  total = 0.0
  for x_BD in np.array_split(x_ND, 100):
    score_BK = (c_KD**2).sum(1) - 2 * x_BD @ c_KD.T
    near_BD = c_KD[score_BK.argmin(1)]
    total += float(((x_BD - near_BD) ** 2).sum(dtype=np.float64))
  return total


def _fit_ours(x_ND, c_KD, precision):
  fitted = kmeans.fit(
    x_ND,
    K,
    jax.random.key(0),
    max_iterations=ITERATIONS,
    tolerance=0.0,
    precision=precision,
    init_KD=c_KD,
  )
  return np.asarray(fitted.c_KD)


def _fit_faiss(x_ND, c_KD):
  import faiss

  index = faiss.Kmeans(
    D,
    K,
    niter=ITERATIONS,
    max_points_per_centroid=N,
    min_points_per_centroid=1,
  )
  index.train(x_ND, init_centroids=c_KD)
  return index.centroids


def _fit_sklearn(x_ND, c_KD):
  from sklearn.cluster import KMeans

  model = KMeans(
    K,
    init=c_KD,
    n_init=1,
    max_iter=ITERATIONS,
    tol=0.0,
    algorithm='lloyd',
  )
  return model.fit(x_ND).cluster_centers_


def _search_faiss(x_ND, c_KD):
  import faiss

  index = faiss.IndexFlatL2(D)
  index.add(c_KD)
  return index.search(x_ND, 1)[1]


def _race(contenders: dict) -> tuple[dict, dict]:
  """Returns median seconds and the last result of each contender."""
  results = {name: call() for name, call in contenders.items()}  # warm up
  seconds = {name: [] for name in contenders}
  for _ in range(ROUNDS):
    for name, call in contenders.items():
      begin = time.perf_counter()
      results[name] = call()
      seconds[name].append(time.perf_counter() - begin)
  medians = {name: statistics.median(row) for name, row in seconds.items()}
  return medians, results


def run() -> list[dict]:
  """Returns rows of seconds, ours and the peer's; ratio = peer / ours."""
  import faiss
  import threadpoolctl

  faiss.omp_set_num_threads(THREADS)
  x_ND, start_KD = _data()
  with threadpoolctl.threadpool_limits(THREADS):
    fit_s, centroids = _race(
      {
        'bf16': lambda: _fit_ours(x_ND, start_KD, 'bfloat16'),
        'faiss': lambda: _fit_faiss(x_ND, start_KD),
        'f32': lambda: _fit_ours(x_ND, start_KD, 'float32'),
        'sklearn': lambda: _fit_sklearn(x_ND, start_KD),
      }
    )
    codebook = kmeans.fit(
      x_ND, K, jax.random.key(0), max_iterations=1, init_KD=start_KD
    )
    assign_s, _ = _race(
      {
        'bf16': lambda: np.asarray(kmeans.assign(codebook, x_ND)),
        'faiss': lambda: _search_faiss(x_ND, start_KD),
      }
    )
  inertia = {name: _inertia(x_ND, c_KD) for name, c_KD in centroids.items()}
  peer = min(('faiss', 'sklearn'), key=fit_s.get)

  def row(name, ours, theirs, target):
    ratio = theirs / ours
    return dict(name=name, ours=ours, peer=theirs, ratio=ratio, target=target)

  return [
    row(f'kmeans lloyd vs {peer}', fit_s['bf16'], fit_s[peer], 2.0),
    row('kmeans lloyd vs faiss', fit_s['bf16'], fit_s['faiss'], None),
    row('kmeans lloyd vs sklearn', fit_s['bf16'], fit_s['sklearn'], None),
    row(f'kmeans lloyd f32 vs {peer}', fit_s['f32'], fit_s[peer], None),
    row('kmeans assign vs faiss', assign_s['bf16'], assign_s['faiss'], 2.4),
    row('kmeans inertia f32/bf16', inertia['bf16'], inertia['f32'], 0.999),
    row('kmeans inertia faiss/f32', inertia['f32'], inertia['faiss'], None),
  ]
