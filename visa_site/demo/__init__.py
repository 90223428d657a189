"""An invented facility, so that a new installation can be tried at once. Everything here may be seeded again."""
