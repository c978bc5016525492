"""Serves a saved policy: `python -m rpt_jax.serve --policy=<folder>`.

Nothing heavy is imported before the flags are read.
"""

import argparse
import asyncio
import os
import signal
import sys

TOKEN = 'RPT_JAX_TOKEN'  # A flag would be seen in the list of processes.
_LOCAL = ('127.0.0.1', '::1', 'localhost')


def flags() -> argparse.ArgumentParser:
  """What the command line may say."""
  parser = argparse.ArgumentParser(
    'python -m rpt_jax.serve',
    description='Serves a saved policy to robots that run elsewhere. The '
    f'environment variable {TOKEN} holds a token that clients must give; '
    'without it whoever reaches the port is served. launch/README.md '
    'says what messages hold.',
  )
  add = parser.add_argument
  add('--policy', required=True, help="a policy's folder, or an id of the hub")
  add('--host', default='127.0.0.1', help='0.0.0.0: all networks')
  add('--port', type=int, default=8000, help='0: any that is free')
  add('--layout', default='openpi', help='of messages: openpi or roboarena')
  add('--sessions', type=int, default=8, help='robots at once, at most')
  add(
    '--execute',
    type=int,
    default=0,
    help='actions that clients play of a chunk before they ask again, if they '
    "stamp no observations; 0: as the policy's",
  )
  add(
    '--ensemble',
    type=float,
    default=None,
    help='average what all chunks say of a step, see policy/execution.py',
  )
  add(
    '--delay',
    type=int,
    default=0,
    help='steps that robots play before an answer is there: what was planned '
    'for these stays as it was',
  )
  add(
    '--realtime',
    action='store_true',
    help='the rest of a chunk goes on from there (flow heads alone)',
  )
  add(
    '--names',
    default='',
    help="what clients call what: 'front=observation/image,"
    "proprio=observation/joints+observation/gripper'",
  )
  add('--action_space', default='joint_position', help="RoboArena's")
  return parser


def main(argv: list[str]) -> int:
  """Serves until SIGTERM or Ctrl-C; 0 then, 2 after one line on a mistake."""
  given = flags().parse_args(argv)
  try:
    from rpt_jax.serve import starting

    door = starting.door(given, os.environ.get(TOKEN, ''))
    asyncio.run(_serve(starting.server(given), door))
  except (ValueError, OSError, ImportError) as error:
    text = ' '.join(str(error).split())
    if isinstance(error, ImportError):
      text += "; pip install -e '.[serve]' brings what a server needs"
    print(f'rpt_jax: error: {text}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:  # Nobody was served yet.
    return 130
  return 0


async def _serve(server, door):
  loop, stop = asyncio.get_running_loop(), asyncio.Event()
  for number in (signal.SIGTERM, signal.SIGINT):
    loop.add_signal_handler(number, _end, loop, stop, number)

  def listening(port):
    print(f'rpt_jax: serving at ws://{door.host}:{port}', flush=True)
    if door.host not in _LOCAL and not door.token:
      print(f'rpt_jax: anybody on the network is served; set {TOKEN}')

  await server.run(door, stop, listening)
  counts = ', '.join(f'{n} {what}' for what, n in server.served.items())
  print(f'rpt_jax: served {counts}', flush=True)


def _end(loop, stop, number):
  """The first signal ends the server when all is answered, the second now."""
  stop.set()
  loop.remove_signal_handler(number)
  signal.signal(number, signal.SIG_DFL)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
