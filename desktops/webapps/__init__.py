"""Machines' web applications, JupyterLab first: each on an origin of its own, behind the rights of the desktop."""
