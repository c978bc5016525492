"""One page that shows what was learned and how well it acts."""
