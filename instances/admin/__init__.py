"""Machines, hosts and the catalogue, as the facility's staff keep them."""

from instances.admin import catalogue, history, hosts, letters, lives, machines, strays

__all__ = ["catalogue", "history", "hosts", "letters", "lives", "machines", "strays"]
