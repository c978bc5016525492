"""rpt_jax: is a pretrained representation useful for acting?"""
