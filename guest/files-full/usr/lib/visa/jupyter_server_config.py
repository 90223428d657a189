"""JupyterLab of the machine's owner, behind VISA's proxy: all interfaces, one token, the home as its folder."""

import sys
from pathlib import Path

sys.path.insert(0, "/usr/lib/visa")
from visa_identity import PersonOfProxy

c = get_config()  # noqa: F821 - Jupyter puts it there

c.ServerApp.ip = "0.0.0.0"  # noqa: S104 - the host's network lets only the proxy in
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.base_url = "/"
c.ServerApp.root_dir = str(Path.home())
c.ServerApp.allow_remote_access = True
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash", "-l"]}
c.ServerApp.identity_provider_class = PersonOfProxy
c.IdentityProvider.token = Path("/run/visa/jupyter-token").read_text().strip()
# JupyterLab writes its token into its page; VISA's proxy adds it to requests instead, and no browser learns it.
c.ServerApp.tornado_settings = {"page_config_hook": lambda handler, page: page | {"token": ""}}
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
# The list of extensions without a catalogue: what is installed is root's, and a machine may have no way to PyPI.
c.LabApp.extension_manager = "readonly"
# A megabyte a second, as Jupyter has it, loses what a cell prints of a few megabytes: they come at once.
c.ZMQChannelsWebsocketConnection.iopub_data_rate_limit = 100e6
# Language servers are not installed; looking for them costs seconds at every start.
c.ServerApp.jpserver_extensions = {"jupyter_lsp": False}
