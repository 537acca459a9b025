"""Files that survive crashes: atomic writes, locks, checked contents, identities of inputs."""
