"""gymnax environments: rates, states, experts, and pixels drawn in jnp."""
