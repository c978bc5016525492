"""What a sequence model is trained for, one file each.

A file has

  Settings        frozen dataclass; its floats may be traced
  VISIBILITY      who may see whom, a rule of `models/visibility.py`
  heads(settings, streams, targets)
                  the `HeadSpec`s that its loss reads, a continuous target of
                  dim 0 being as wide as the model; ValueError for streams or
                  targets that it cannot do
  loss(apply, batch, key, settings, teacher=None)
                  (loss, {name: (sum, count)}) of a `types.Batch`; `apply` is a
                  `sequence.Bound`, and so is the teacher, where there is one

and, where it asks for them,

  reach(settings)      steps of targets beyond the window
  check_window(settings, context)
                       ValueError 'key: ...' where a window does not do
  heldout(apply, batch, key, settings)
                       more metrics, of windows that it did not learn from
  teacher(settings)    decay of the running mean of the weights that it learns
                       from; 0: none
  rates(settings)      {path pattern: factor of the learning rate}

Names of metrics are those of `results.Pretrain`. `targets`, `tokens` and
`guesses` are what several share; `behaviour_cloning` is what policies learn by,
`cal_ql` what critics do.
"""
