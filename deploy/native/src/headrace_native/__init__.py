"""Real servers without Docker, for tests, measurements and a platform on one machine.

One module a server, each with a `RECIPE`: how it is had from the package registries, how it is started on free loopback
ports, when it is ready. Everything else (what Headrace keeps in them, and how) is none of this package's business, and
production code never imports it.
"""

from headrace_native.process import Process
from headrace_native.recipes import RECIPES
from headrace_native.server import Recipe, Server, ServerFailed, ServerMissing

__all__ = ["RECIPES", "Process", "Recipe", "Server", "ServerFailed", "ServerMissing"]
