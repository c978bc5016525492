"""Rows of `.npz` files, against what NumPy reads; archives that lie."""

import concurrent.futures
import io
import zipfile

import numpy as np
import pytest

from rpt_jax.episodes import zipped

RNG = np.random.default_rng(0)
ARRAYS = {
  'observations': RNG.normal(size=(4000, 29)).astype(np.float32),
  'frames': RNG.integers(0, 40, (300, 16, 16, 3), np.uint8),
  'flags': RNG.integers(0, 2, 4000).astype(bool),
  'by_columns': np.asfortranarray(RNG.normal(size=(50, 3, 4))),
  'other_end': RNG.integers(0, 9, (50, 2)).astype('>i4'),
  'none': np.zeros((0, 3)),
}


@pytest.fixture(params=[np.savez, np.savez_compressed])
def path(tmp_path, request):
  request.param(
    path := tmp_path / 'a.npz', name='text', one=np.array({}), **ARRAYS
  )
  return path


def test_rows_are_those_that_numpy_reads(path, monkeypatch):
  monkeypatch.setattr(zipped, '_FINEST', 1 << 14)
  archive = zipped.Archive(path)
  assert {*archive.arrays} == {*ARRAYS, 'name'}  # Not the pickled object.
  for name, values in ARRAYS.items():
    assert archive.arrays[name] == (values.shape, values.dtype)
    whole = archive.rows(name)
    np.testing.assert_array_equal(whole, values)
    assert whole.dtype == values.dtype and whole.flags.writeable
  places = [(0, 1), (3999, 1), (4000, 0), (3000, 900), (10, 20), (2990, 20)]
  for first, count in places:
    np.testing.assert_array_equal(
      archive.rows('observations', first, count),
      ARRAYS['observations'][first : first + count],
    )
  np.testing.assert_array_equal(
    archive.rows('by_columns', 7, 5), ARRAYS['by_columns'][7:12]
  )


def test_what_lies_before_is_decompressed_once(tmp_path, monkeypatch):
  monkeypatch.setattr(zipped, '_FINEST', 1 << 14)
  path = tmp_path / 'a.npz'
  np.savez_compressed(path, **ARRAYS)
  archive = zipped.Archive(path)
  archive.rows('observations', 3999, 1)
  stream = archive._streams['observations']
  size = ARRAYS['observations'].nbytes
  assert size / (1 << 16) < len(stream._states) <= size / (1 << 14)
  stream._states[:-1] = [(*s[:2], None) for s in stream._states[:-1]]
  np.testing.assert_array_equal(
    archive.rows('observations', 3999, 1), ARRAYS['observations'][3999:]
  )
  with pytest.raises(ValueError, match='cannot be read .AttributeError'):
    archive.rows('observations', 0, 1)  # From a state that is gone.


def test_threads_read_at_once(path, monkeypatch):
  monkeypatch.setattr(zipped, '_FINEST', 1 << 14)
  archive = zipped.Archive(path)

  def read(first):
    return archive.rows('observations', first, 50)

  firsts = RNG.permutation(np.arange(0, 3950, 50)).tolist()
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for first, rows in zip(firsts, pool.map(read, firsts), strict=True):
      np.testing.assert_array_equal(
        rows, ARRAYS['observations'][first : first + 50]
      )


def test_rows_that_there_are_not(path):
  archive = zipped.Archive(path)
  for first, count in ((-1, 3), (0, 4001), (3999, 2), (5, -2)):
    with pytest.raises(ValueError, match='a.npz: observations has 4000 rows'):
      archive.rows('observations', first, count)


def test_damage_is_named(path):
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(ValueError, match='a.npz: cannot be read'):
    zipped.Archive(path)
  path.write_bytes(whole)
  archive = zipped.Archive(path)
  path.write_bytes(whole[:5000])
  with pytest.raises(ValueError, match='a.npz.*bytes early'):
    archive.rows('observations')
  path.write_bytes(b'\0' * len(whole))
  with pytest.raises(ValueError, match='a.npz: cannot be read'):
    zipped.Archive(path)
  path.unlink()
  with pytest.raises(ValueError, match='a.npz: no such file'):
    zipped.Archive(path)


def header_of(shape, dtype='<f4'):
  np.lib.format.write_array_header_1_0(
    file := io.BytesIO(),
    {'descr': dtype, 'fortran_order': False, 'shape': shape},
  )
  return file.getvalue()


@pytest.mark.parametrize('kind', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
  'shape, match',
  [
    ((10**9, 10**3), 'declares 4000000000000 bytes'),
    ((11,), 'found 168 bytes'),
    ((9,), 'found 168 bytes'),
    ((-10,), 'found 168 bytes'),
  ],
)
def test_an_array_holds_what_it_declares(tmp_path, shape, match, kind):
  with zipfile.ZipFile(path := tmp_path / 'a.npz', 'w', kind) as archive:
    archive.writestr('x.npy', header_of(shape) + bytes(40))
  with pytest.raises(ValueError, match=f'a.npz.*{match}'):
    zipped.Archive(path)


def test_a_member_lies_within_the_file(tmp_path):
  start = len(header_of((10,)))
  with zipfile.ZipFile(path := tmp_path / 'a.npz', 'w') as archive:
    size = 1 << 20
    archive.writestr('x.npy', header_of(((size - start) // 4,)) + bytes(40))
  whole = bytearray(path.read_bytes())
  entry = whole.index(b'PK\x01\x02')
  for field in (20, 24):  # Compressed and whole size, as the directory says.
    whole[entry + field : entry + field + 4] = size.to_bytes(4, 'little')
  path.write_bytes(whole)
  with pytest.raises(ValueError, match='x.npy: lies beyond the end'):
    zipped.Archive(path)


def test_other_compressions_and_ciphers_are_not_numpys(tmp_path):
  with zipfile.ZipFile(
    path := tmp_path / 'a.npz', 'w', zipfile.ZIP_BZIP2
  ) as archive:
    archive.writestr('x.npy', header_of((10,)) + bytes(40))
  with pytest.raises(ValueError, match='x.npy: found it encrypted or'):
    zipped.Archive(path)
