#!/bin/sh
# Installs TrustGate on this machine and starts it: with Docker Compose where Docker runs, else in a virtual environment.
#
#   sh scripts/install.sh
#
# What it may be told, by variables:
#   AG_DIR          where it goes (this checkout, or ./TrustGate)
#   AG_REPO_URL     where to clone it from, outside of a checkout
#   AG_REF          which branch, tag or commit (main)
#   AG_BIN_DIR      where the command goes (~/.local/bin)
#   AG_INSTALL_CLI  0: no command
#   AG_NO_START     1: start nothing
#   AG_MODE         docker or python, instead of what is found
#
# An .env that is there is left as it is; one that is not is made, with secrets of its own.
set -eu

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

main() {
  choose_mode
  fetch
  cd "$AG_DIR"
  make_env
  if [ "$mode" = docker ]; then
    [ "${AG_INSTALL_CLI:-1}" = 0 ] || install_docker_cli
    [ "${AG_NO_START:-0}" = 1 ] || start_docker
  else
    install_python
    [ "${AG_INSTALL_CLI:-1}" = 0 ] || install_python_cli
    [ "${AG_NO_START:-0}" = 1 ] || start_python
  fi
  [ "${AG_NO_START:-0}" = 1 ] && say "Installed in $AG_DIR, and not started." && return
  welcome
}

choose_mode() {
  mode="${AG_MODE:-}"
  if [ -z "$mode" ]; then
    if have docker && docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then mode=docker; else mode=python; fi
  fi
  case "$mode" in
    docker) docker compose version >/dev/null 2>&1 || fail "Docker Compose does not answer: start Docker, or use AG_MODE=python" ;;
    python) find_python ;;
    *) fail "AG_MODE is $mode, which is not accepted: use docker or python" ;;
  esac
}

find_python() {
  for python in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if have "$python" && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
  done
  fail "neither Docker nor a Python 3.11 (or newer) with its venv module was found: install one of them (Debian: apt-get install python3-venv)"
}

fetch() {
  here=$(cd "$(dirname "$0")" 2>/dev/null && pwd) || here=$PWD
  if [ -z "${AG_DIR:-}" ] && [ -f "$here/../pyproject.toml" ]; then
    AG_DIR=$(cd "$here/.." && pwd)
    return
  fi
  AG_DIR="${AG_DIR:-$PWD/TrustGate}"
  if [ -f "$AG_DIR/pyproject.toml" ]; then
    if [ -n "${AG_REF:-}" ]; then
      git -C "$AG_DIR" fetch --quiet --tags origin
      git -C "$AG_DIR" checkout --quiet "$AG_REF"
    fi
  else
    have git || fail "git was not found: install it, or unpack TrustGate and run its scripts/install.sh"
    [ -n "${AG_REPO_URL:-}" ] || fail "AG_REPO_URL is not set: it says where to clone TrustGate from"
    say "Fetching TrustGate ${AG_REF:-main} into $AG_DIR …"
    git clone --quiet "$AG_REPO_URL" "$AG_DIR" || fail "$AG_REPO_URL cannot be cloned"
    git -C "$AG_DIR" checkout --quiet "${AG_REF:-main}" || fail "AG_REF is $AG_REF, which is no branch, tag or commit there"
  fi
  AG_DIR=$(cd "$AG_DIR" && pwd)
}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

make_env() {
  if [ -e .env ]; then
    say "Keeping the .env that is there."
    return
  fi
  (
    umask 077
    {
      say "# Made by scripts/install.sh. Every variable is explained in .env.example."
      say "SERVER_SECRET_KEY=$(random)"
      say "DB_PASSWORD=$(random)"
      say "REDIS_PASSWORD=$(random)"
    } >.env.new
    mv .env.new .env
  )
  say "Made .env with secrets of its own."
}

install_python() {
  say "Installing into $AG_DIR/.venv …"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . ||
    fail "pip could not install TrustGate: what it says is above"
}

bin_dir() {
  AG_BIN_DIR="${AG_BIN_DIR:-$HOME/.local/bin}"
  if ! mkdir -p "$AG_BIN_DIR" 2>/dev/null || [ ! -w "$AG_BIN_DIR" ]; then
    say "AG_BIN_DIR is $AG_BIN_DIR, which cannot be written: no command was installed."
    return 1
  fi
}

# The command runs in the folder of the installation, where its .env and its data are.
install_python_cli() {
  bin_dir || return 0
  printf '#!/bin/sh\ncd "%s" && exec .venv/bin/trustgate "$@"\n' "$AG_DIR" >"$AG_BIN_DIR/trustgate"
  chmod 755 "$AG_BIN_DIR/trustgate"
}

install_docker_cli() {
  bin_dir || return 0
  printf '#!/bin/sh\ncd "%s" && exec docker compose exec admin trustgate "$@"\n' "$AG_DIR" >"$AG_BIN_DIR/trustgate"
  chmod 755 "$AG_BIN_DIR/trustgate"
}

start_docker() {
  say "Building and starting; the first time takes some minutes …"
  docker compose up --detach --build --wait || fail "it did not become healthy: see 'docker compose logs' in $AG_DIR"
}

start_python() {
  mkdir -p var
  if [ -f var/trustgate.pid ] && kill -0 "$(cat var/trustgate.pid)" 2>/dev/null; then
    say "It runs already, as process $(cat var/trustgate.pid)."
    return
  fi
  say "Starting …"
  nohup .venv/bin/trustgate run >var/events.jsonl 2>var/trustgate.log </dev/null &
  echo $! >var/trustgate.pid
  waited=0
  until .venv/bin/trustgate healthy 2>/dev/null; do
    waited=$((waited + 1))
    kill -0 "$(cat var/trustgate.pid)" 2>/dev/null || fail "it ended: $(tail -n 3 var/trustgate.log)"
    [ "$waited" -lt 60 ] || fail "it is not healthy after a minute: see $AG_DIR/var/trustgate.log"
    sleep 1
  done
}

port() { sed -n "s/^$1=\([0-9][0-9]*\).*/\1/p" .env | tail -n 1; }

welcome() {
  if [ "$mode" = docker ]; then
    admin=$(port ADMIN_PORT) proxy=$(port PROXY_PORT) mcp=$(port MCP_PORT)
    token="docker compose exec admin trustgate token"
    stop="docker compose down"
  else
    admin=$(port SERVER_ADMIN_PORT) proxy=$(port SERVER_PROXY_PORT) mcp=$(port SERVER_MCP_PORT)
    token=".venv/bin/trustgate token"
    stop="kill \$(cat var/trustgate.pid)"
  fi
  say ""
  say "TrustGate is ready."
  say "  admin   http://localhost:${admin:-8080}   (docs at http://localhost:${admin:-8080}/docs)"
  say "  proxy   http://localhost:${proxy:-8081}"
  say "  mcp     http://localhost:${mcp:-8082}"
  say ""
  say "In $AG_DIR:"
  say "  a token for the admin API:   $token"
  say "  to stop it:                  $stop"
  say "  the first gateway:           docs/first-gateway.md"
}

main
