#!/bin/sh
# Brings what `make test-services` needs beside Python: Java, Maven, and with it Apache Kafka, into tests/services/kafka/jars.
set -eu
cd "$(dirname "$0")/kafka"
missing=""
command -v java >/dev/null 2>&1 || missing="openjdk-17-jre-headless"
command -v mvn >/dev/null 2>&1 || missing="$missing maven"
if [ -n "$missing" ]; then
  if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    echo "The service tests need Java 17 and Maven; install: $missing" >&2
    exit 1
  fi
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
[ -d jars ] || mvn -q -B dependency:copy-dependencies -DoutputDirectory=jars
