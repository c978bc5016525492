"""What looks at a config, a dataset or this machine, and trains nothing."""
