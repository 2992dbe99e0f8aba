#!/bin/sh
# msrv.sh: builds everything with the oldest Rust that Cargo.toml promises (rust-version), the program with and without
# TLS, and runs the unit tests. rustup fetches that Rust when it is not there.
set -eu

cd "$(dirname "$0")/../.."
version=$(sed -n 's/^rust-version = "\([0-9.]*\)"/\1/p' Cargo.toml)
case $version in
    *.*.*) ;;
    *) version=$version.0 ;; # as rustup names it
esac
command -v rustup >/dev/null 2>&1 || { echo "SKIPPED: Rust $version: no rustup here to fetch it"; exit 0; }
rustup run "$version" rustc --version ||
    rustup toolchain install "$version" --profile minimal --no-self-update
export RUSTUP_TOOLCHAIN="$version"
cargo check --locked --no-default-features
cargo check --locked --all-targets
cargo test --locked --bin iperf3-exporter
