"""The rows of the table, as data, and how each peer is started. A new row is one more entry in ROWS."""

import os
import pwd
import sys
from functools import partial
from importlib.metadata import version

from bench import install, ours, wire
from bench.launch import BEARER, Row, Running, Site, launch
from bench.processes import fresh_port

NGINX_CONF = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid nginx.pid;
error_log stderr error;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

LITELLM_CONF = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: {upstream}/v1
      api_key: sk-upstream
general_settings:
  master_key: {key}
litellm_settings:
  telemetry: false
"""


def start_nginx(site: Site) -> Running:
    """Start nginx as a reverse proxy with keep-alive on both sides: the limit in C."""
    port = fresh_port()
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    conf = site.folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(user=user, upstream=site.upstream_port, port=port))
    return launch(site, [install.nginx(), "-p", site.folder, "-e", "stderr", "-c", conf], [(port, "/")])


def start_naive(site: Site) -> Running:
    """Start Starlette and httpx, as they come, on Granian."""
    port = fresh_port()
    serving = ["--interface", "asgi", "--loop", "uvloop", "--no-ws", "--no-log", "--host", "127.0.0.1"]
    command = [sys.executable, "-m", "granian", *serving, "--port", str(port), "bench.apps.naive:app"]
    return launch(site, command, [(port, "/")], env={"BENCH_UPSTREAM": site.upstream}, at_home=True)


def start_portkey(site: Site) -> Running:
    """Start Portkey's gateway without policies; headers of the request say where it goes."""
    port = fresh_port()
    node, script = install.portkey()
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    running = launch(site, [node, script, f"--port={port}", "--headless"], [(port, "/")], env=env)
    route = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{site.upstream}/v1"}
    return running._replace(headers=BEARER | route)


def start_litellm(site: Site) -> Running:
    """Start the LiteLLM proxy with a master key and no database."""
    port = fresh_port()
    conf = site.folder / "litellm.yaml"
    key = BEARER["authorization"].removeprefix("Bearer ")
    conf.write_text(LITELLM_CONF.format(model=wire.MODEL, upstream=site.upstream, key=key))
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    serving = ["--config", str(conf), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return launch(site, [install.litellm(), *serving], [(port, "/health/liveliness")], env=env, limit=120)


def _versions(*names: str) -> str:
    return ", ".join(f"{name} {version(name)}" for name in names)


ROWS = (
    Row("nginx", "nginx proxy_pass (the limit in C)", install.nginx_version, start_nginx),
    Row("naive", "Starlette + httpx, as they come", partial(_versions, "starlette", "httpx", "granian"), start_naive),
    Row("portkey", "Portkey gateway, no policies", install.portkey_version, start_portkey),
    Row("litellm", "LiteLLM proxy, key check only", install.litellm_version, start_litellm),
    Row("bare", "TrustGate's server and pool, bare pass-through", ours.pool_version, ours.start_bare),
    Row("trustgate", "TrustGate, key check and limiters", ours.trustgate_version, ours.start_trustgate),
    Row(
        "trustgate-10k",
        "TrustGate, the same with 10 000 consumers",
        ours.trustgate_version,
        partial(ours.start_trustgate, consumers=10_000),
        in_quick=False,
    ),
)
