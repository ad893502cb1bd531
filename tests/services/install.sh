#!/bin/sh
# Brings what `make test-services` needs beside Python: Java and Maven, and with them Apache Kafka, into
# tests/services/kafka/jars; Postgres and Redis as Debian has them; the linters of shell and Compose files; and kubectl,
# for Kustomize.
set -eu
cd "$(dirname "$0")/kafka"
missing=""
command -v java >/dev/null 2>&1 || missing="openjdk-17-jre-headless"
command -v mvn >/dev/null 2>&1 || missing="$missing maven"
command -v shellcheck >/dev/null 2>&1 || missing="$missing shellcheck"
command -v npx >/dev/null 2>&1 || missing="$missing npm"
command -v kubectl >/dev/null 2>&1 || missing="$missing kubernetes-client"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
[ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || missing="$missing postgresql"
if [ -n "$missing" ]; then
  if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    echo "The service tests need more than is here; install: $missing" >&2
    exit 1
  fi
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
[ -d jars ] || mvn -q -B dependency:copy-dependencies -DoutputDirectory=jars
