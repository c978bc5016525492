"""What a run would be: plan, mesh, shapes, parameters, attention, costs."""


def describe(config) -> None:
  """Print it; nothing is trained or written."""
