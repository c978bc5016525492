"""Published families: what a config.json means, and the names of tensors.

One file a family: `FAMILY` for images and, where there is one, `TEXT`.
"""
