"""The recipes that come with the package: TOML files, found by name."""
