"""A machine's shell over SSH: opened by certificates of minutes, against a host key that we made ourselves."""
