"""Hugging Face's `datasets`: their files, where episodes lie, what cells hold.

`formats.huggingface` joins them.
"""
