"""Everything Flax about sequences: stems, trunk, heads, visibility."""
