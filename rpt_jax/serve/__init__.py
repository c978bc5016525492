"""Policies for robots that run elsewhere: `python -m rpt_jax.serve`.

A websocket server whose messages clients of openpi and RoboArena understand
(`layouts/`), and a client for a robot: `client.Client` waits for each answer,
`on_time.Player` never does. What a robot imports (`client`, `messages`,
`on_time`) needs NumPy, msgpack and websockets, and no JAX.
"""
