"""Minari: what holds its episodes, a file of groups or a table each."""
