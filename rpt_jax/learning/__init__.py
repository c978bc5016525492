"""What the stages that train share: runs, their data, features, policies."""
