"""Machines, hosts and the catalogue, as the facility's staff keep them."""

from instances.admin import catalogue, hosts, letters, lives, machines, strays

__all__ = ["catalogue", "hosts", "letters", "lives", "machines", "strays"]
