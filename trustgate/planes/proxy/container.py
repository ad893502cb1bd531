"""How the proxy plane is put together."""

from dependency_injector import providers

from trustgate.planes.ground import Ground
from trustgate.planes.probes import probe_app
from trustgate.planes.proxy.app import ProxyApp


class Proxy(Ground):
    """The ground, with the proxy's app on it."""

    proxy_app = providers.Singleton(ProxyApp, Ground.lifecycle, providers.Singleton(probe_app, Ground.probes))
