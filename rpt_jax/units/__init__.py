"""Hidden units: k-means over features, quantizers on top, how good they are."""
