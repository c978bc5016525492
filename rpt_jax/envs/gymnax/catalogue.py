"""The gymnax environments of the house, by name, and those of our own."""

import functools

from rpt_jax.envs.environment import Env
from rpt_jax.envs.gymnax import classic, detour, gate, minatar

__all__ = ['NAMES', 'Env', 'make']

_DETOUR = dict(
  action_dim=2,
  action_limit=1.0,
  action_repeat=1,
  horizon=32,
  noisy=True,
  state_names=detour.NAMES,
  visible=detour.NAMES,
  measure=detour.physical,
  backdrop=detour.backdrop,
  draw=detour.draw,
  decide=detour.expert,
)
_CATALOGUE = {
  'CartPole-v1': dict(
    action_repeat=4,
    horizon=125,
    state_names=classic.CARTPOLE_NAMES,
    visible=classic.CARTPOLE_VISIBLE,
    measure=classic.cartpole_physical,
    backdrop=classic.cartpole_backdrop,
    draw=classic.cartpole_draw,
    decide=classic.cartpole_expert,
  ),
  'Acrobot-v1': dict(
    action_repeat=2,
    horizon=125,
    state_names=classic.ACROBOT_NAMES,
    visible=classic.ACROBOT_VISIBLE,
    measure=classic.acrobot_physical,
    backdrop=classic.acrobot_backdrop,
    draw=classic.acrobot_draw,
    decide=classic.acrobot_expert,
  ),
  'Pendulum-v1': dict(
    action_repeat=4,
    horizon=50,
    state_names=classic.PENDULUM_NAMES,
    visible=classic.PENDULUM_VISIBLE,
    measure=classic.pendulum_physical,
    backdrop=classic.pendulum_backdrop,
    draw=classic.pendulum_draw,
    decide=classic.pendulum_expert,
  ),
  'MountainCar-v0': dict(
    action_repeat=4,
    horizon=50,
    state_names=classic.CAR_NAMES,
    visible=classic.CAR_VISIBLE,
    measure=classic.car_physical,
    backdrop=functools.partial(classic.car_backdrop, goal=0.5),
    draw=classic.car_draw,
    decide=classic.car_expert,
  ),
  'MountainCarContinuous-v0': dict(
    action_repeat=4,
    horizon=75,
    state_names=classic.CAR_NAMES,
    visible=classic.CAR_VISIBLE,
    measure=classic.car_physical,
    backdrop=functools.partial(classic.car_backdrop, goal=0.45),
    draw=classic.car_draw,
    decide=classic.car_continuous_expert,
  ),
  'Breakout-MinAtar': dict(
    action_repeat=1,
    horizon=125,
    state_names=minatar.BREAKOUT_NAMES,
    visible=minatar.BREAKOUT_NAMES,
    measure=minatar.breakout_physical,
    backdrop=minatar.backdrop,
    draw=minatar.breakout_draw,
    decide=minatar.breakout_expert,
    start=minatar.breakout_start,
  ),
  'Freeway-MinAtar': dict(
    action_repeat=3,
    horizon=100,
    noisy=True,
    state_names=minatar.FREEWAY_NAMES,
    visible=minatar.FREEWAY_NAMES,
    measure=minatar.freeway_physical,
    backdrop=minatar.backdrop,
    draw=minatar.freeway_draw,
    decide=minatar.freeway_expert,
    start=minatar.freeway_start,
  ),
  'SpaceInvaders-MinAtar': dict(
    action_repeat=1,
    horizon=125,
    state_names=minatar.INVADERS_NAMES,
    visible=minatar.INVADERS_VISIBLE,
    measure=minatar.invaders_physical,
    backdrop=minatar.backdrop,
    draw=minatar.invaders_draw,
    decide=minatar.invaders_expert,
    start=minatar.invaders_start,
  ),
  'Detour-v0': _DETOUR | dict(simulator=detour.Detour()),
  'OneWay-v0': _DETOUR | dict(simulator=detour.Detour(both=False)),
  'Gate-v0': dict(
    simulator=gate.Gate(),
    action_dim=2,
    action_limit=1.0,
    action_repeat=1,
    horizon=48,
    noisy=True,
    state_names=gate.NAMES,
    visible=gate.NAMES,
    measure=gate.physical,
    backdrop=gate.backdrop,
    draw=gate.draw,
    decide=gate.expert,
  ),
}

NAMES = tuple(_CATALOGUE)
# Whose rewards are above 0 at the goal alone: an episode succeeds or fails.
WITH_GOAL = (
  'MountainCarContinuous-v0',
  'Detour-v0',
  'OneWay-v0',
  'Gate-v0',
)


@functools.cache
def make(name: str) -> Env:
  """The environment of a gymnax id; the same object at every call.

  Raises ValueError for a name outside `NAMES`. Imports gymnax (2 s).
  """
  if name not in _CATALOGUE:
    raise ValueError(
      f'environment name: found {name!r}, expected one of {", ".join(NAMES)}; '
      'correct the name or add an entry to rpt_jax/envs/gymnax/catalogue.py'
    )
  entry = dict(_CATALOGUE[name])
  if 'simulator' in entry:
    return Env(name=name, num_actions=0, **entry)
  import gymnax

  simulator, params = gymnax.make(name)
  space = simulator.action_space(params)
  discrete = hasattr(space, 'n')
  return Env(
    name=name,
    simulator=simulator,
    num_actions=int(space.n) if discrete else 0,
    action_dim=0 if discrete else 1,
    action_limit=0.0 if discrete else float(space.high),
    **entry,
  )
