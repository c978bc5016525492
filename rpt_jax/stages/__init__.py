"""The verbs: one stage a file, and the pipeline that runs them."""
