#!/bin/sh
# msrv.sh: builds everything with the oldest supported Rust (rust-version in Cargo.toml), the program with and without
# TLS, and runs the unit tests. If that Rust is missing, rustup fetches it.
set -eu

cd "$(dirname "$0")/../.."
version=$(sed -n 's/^rust-version = "\([0-9.]*\)"/\1/p' Cargo.toml)
case $version in
    *.*.*) ;;
    *) version=$version.0 ;; # rustup's notation
esac
command -v rustup >/dev/null 2>&1 || { echo "SKIPPED: Rust $version: no rustup here to fetch it"; exit 0; }
rustup run "$version" rustc --version ||
    rustup toolchain install "$version" --profile minimal --no-self-update
export RUSTUP_TOOLCHAIN="$version"
cargo check --locked --no-default-features
cargo check --locked --all-targets
cargo test --locked --bin iperf3-exporter
